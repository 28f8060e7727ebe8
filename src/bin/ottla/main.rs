//! `ottla`: a broker of its own for Kafka clients, and the tool that looks after data directories,
//! and after brokers on the network.
//!
//! | file | |
//! |---|---|
//! | `serve` | the broker |
//! | `topics`, `groups` | what `ottla::Admin` does |
//! | `produce`, `consume`, `json` | records in, records out, and their form as JSON |
//! | `users` | the file of who may log in |
//! | `dump`, `verify`, `repair` | what `ottla::inspect` and an open find |
//! | `place` | which data directory, and how it is opened, or which brokers |
//! | `stop` | ctrl-c, SIGTERM |
//! | `parse` | what arguments are made of |
//! | `output` | tables, sizes, times, progress, exit codes |

mod consume;
mod dump;
mod groups;
mod json;
mod output;
mod parse;
mod place;
mod produce;
mod repair;
mod serve;
mod stop;
mod topics;
#[cfg(feature = "tls")]
mod users;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use output::{Outcome, exit_code};

/// An event log that Kafka clients can talk to, in one process, and the tool that looks after its
/// data directories, and after brokers on the network.
#[derive(Parser)]
#[command(version, name = "ottla", after_help = AFTER)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const AFTER: &str = "\
Exit codes:
  0  done
  1  it could not be done; the reason is on standard error
  2  the arguments are wrong
  3  done, and records or settings were found to be lost

Commands that only look (topics list and describe, groups list and describe, consume without
--group, dump, verify, repair --dry-run) take no lock and change no byte: use them beside a broker
at work. The others need the directory for themselves.

With --bootstrap instead of --data-dir, topics, produce, consume and groups do the same over the
network: at ottla serve, or at Apache Kafka.

Examples:
  ottla serve --data-dir ./data
  echo '2 coffees' | ottla produce -d ./data orders --key alice
  ottla consume -d ./data orders --json
  ottla groups describe -d ./data billing
  ottla topics list --bootstrap 127.0.0.1:9092
  ottla verify ./data";

#[derive(Subcommand)]
enum Command {
    /// Serves topics to Kafka clients until it is interrupted
    Serve(serve::Serve),
    /// Lists, describes, creates, alters and deletes topics
    #[command(subcommand)]
    Topics(topics::Topics),
    /// Appends records read from standard input
    Produce(produce::Produce),
    /// Prints the records of topics
    Consume(consume::Consume),
    /// Lists, describes, moves and deletes consumer groups
    #[command(subcommand)]
    Groups(groups::Groups),
    /// Lists, adds and removes users, for `serve --users`
    #[cfg(feature = "tls")]
    #[command(subcommand)]
    Users(users::Users),
    /// Shows what is in a log's files, batch by batch
    Dump(dump::Dump),
    /// Reads all of a data directory, and says what is wrong with it
    Verify(verify::Verify),
    /// Mends what a crash left in a data directory, and says what that was
    Repair(repair::Repair),
}

#[tokio::main]
async fn main() -> ExitCode {
    exit_code(Arguments::parse().command.run().await)
}

impl Command {
    async fn run(self) -> Outcome {
        match self {
            Command::Serve(command) => command.run().await,
            Command::Topics(command) => command.run().await,
            Command::Produce(command) => command.run().await,
            Command::Consume(command) => command.run().await,
            Command::Groups(command) => command.run().await,
            #[cfg(feature = "tls")]
            Command::Users(command) => command.run(),
            Command::Dump(command) => command.run(),
            Command::Verify(command) => command.run(),
            Command::Repair(command) => command.run().await,
        }
    }
}
