//! `ottla users`: a file of names and SCRAM verifiers. Passwords come in, and are not kept.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use ottla::Error;

use crate::output::{Done, Outcome, say};

#[derive(clap::Subcommand)]
#[command(after_help = AFTER)]
pub(crate) enum Users {
    /// Prints the users' names
    List {
        /// The file
        file: PathBuf,
    },
    /// Adds a user, or gives one another password; reads that from standard input, a line
    Add {
        /// The file, which is created
        file: PathBuf,
        /// The user
        name: String,
    },
    /// Removes a user
    Remove {
        /// The file
        file: PathBuf,
        /// The user
        name: String,
    },
}

const AFTER: &str = "\
What is in the file can't be logged in with, but passwords can be tried against it: keep it from
others. `ottla serve` reads it when it starts.";

impl Users {
    pub(crate) fn run(self) -> Outcome {
        match self {
            Users::List { file } => {
                let users = ottla::security::Users::from_file(file)?;
                users.names().iter().try_for_each(say)?;
            }
            Users::Add { file, name } => {
                let users = match file.try_exists() {
                    Ok(false) => ottla::security::Users::new(),
                    _ => ottla::security::Users::from_file(&file)?,
                };
                users.add(&name, &password()?)?;
                write(&file, &users)?;
            }
            Users::Remove { file, name } => {
                let users = ottla::security::Users::from_file(&file)?;
                if !users.remove(&name) {
                    let reason = format!("{} has none of that name", file.display());
                    let name = format!("user {name:?}");
                    return Err(Error::InvalidConfig { name, reason }.into());
                }
                write(&file, &users)?;
            }
        }
        Ok(Done::Well)
    }
}

/// The first line of standard input.
fn password() -> io::Result<String> {
    let input = io::stdin();
    if input.is_terminal() {
        write!(io::stderr(), "password (it is shown): ")?;
    }
    let mut line = String::new();
    input.lock().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// In one go, and for its owner only.
fn write(file: &Path, users: &ottla::security::Users) -> Result<(), Error> {
    let new = file.with_added_extension("new");
    let written = create(&new).and_then(|mut open| {
        open.write_all(users.to_string().as_bytes())?;
        open.sync_all()?;
        std::fs::rename(&new, file)
    });
    written.map_err(|error| Error::Io {
        context: format!("writing {}", file.display()),
        source: error.into(),
    })
}

fn create(path: &Path) -> io::Result<std::fs::File> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
