//! `ottla groups`.

use std::collections::BTreeMap;

use ottla::{
    Admin, Client, CommittedOffset, Error, GroupDescription, OffsetSpec, Timestamp, TopicPartition,
};
use serde_json::json;

use crate::output::{Done, Failure, Outcome, Table, printable, say, say_json, time};
use crate::parse;
use crate::place::{Place, partitions};

#[derive(clap::Subcommand)]
pub(crate) enum Groups {
    /// Lists all groups
    List(List),
    /// Tells of a group: where it stands in each partition, and its members
    Describe(Describe),
    /// Lets a group that has no members go on elsewhere
    Reset(Reset),
    /// Deletes groups with their offsets, or their offsets in some topics
    Delete(Delete),
}

#[derive(clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    place: Place,

    /// Writes JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(crate) struct Describe {
    #[command(flatten)]
    place: Place,

    /// The group
    group: String,

    /// Writes JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(crate) struct Reset {
    #[command(flatten)]
    place: Place,

    /// The group, which is created if it is not there
    group: String,

    /// A topic of which it is to go on elsewhere; may be repeated
    #[arg(short, long = "topic", required = true, value_name = "TOPIC")]
    topics: Vec<String>,

    /// Only this partition of the topics; may be repeated
    #[arg(short, long = "partition", value_name = "N")]
    partitions: Vec<i32>,

    /// Where: earliest, latest, an offset, or the first record of a time
    /// (@2026-11-22T10:00:00Z, or @ and milliseconds since 1970)
    #[arg(long, value_name = "WHERE", value_parser = Target::parse)]
    to: Target,

    /// Shows what would become of it
    #[arg(long)]
    dry_run: bool,
}

#[derive(clap::Args)]
pub(crate) struct Delete {
    #[command(flatten)]
    place: Place,

    /// The groups
    #[arg(required = true, value_name = "GROUP")]
    groups: Vec<String>,

    /// Only their offsets in this topic; may be repeated
    #[arg(short, long = "topic", value_name = "TOPIC")]
    topics: Vec<String>,
}

/// Where a group is to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Earliest,
    Latest,
    Offset(i64),
    Time(Timestamp),
}

impl Target {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "earliest" => Ok(Target::Earliest),
            "latest" => Ok(Target::Latest),
            _ => match text.strip_prefix('@') {
                Some(time) => parse::time(time).map(Target::Time),
                None => text.parse().map(Target::Offset).map_err(|_| {
                    format!("{text:?} is none of earliest, latest, an offset, @ with a time")
                }),
            },
        }
    }
}

impl Groups {
    pub(crate) async fn run(self) -> Outcome {
        match self {
            Groups::List(list) => list.run().await,
            Groups::Describe(describe) => describe.run().await,
            Groups::Reset(reset) => reset.run().await,
            Groups::Delete(delete) => delete.run().await,
        }
    }
}

impl List {
    async fn run(self) -> Outcome {
        let admin = self.place.read().await?.admin();
        let mut json = Vec::new();
        let mut table = Table::new(&["GROUP", "STATE", ">MEMBERS", ">PARTITIONS", ">LAG"]);
        for group in admin.groups().await? {
            let described = admin.describe_group(&group).await?;
            let lag = admin.group_lag(&group).await?;
            let total: i64 = lag.values().sum();
            json.push(json!({
                "group": group,
                "state": described.state.to_string(),
                "members": described.members.len(),
                "partitions": lag.len(),
                "lag": total,
            }));
            table.row([
                group,
                described.state.to_string(),
                described.members.len().to_string(),
                lag.len().to_string(),
                total.to_string(),
            ]);
        }
        match (self.json, json.is_empty()) {
            (true, _) => say_json(&json)?,
            (false, true) => say("no groups")?,
            (false, false) => table.print()?,
        }
        Ok(Done::Well)
    }
}

impl Describe {
    async fn run(self) -> Outcome {
        let admin = self.place.read().await?.admin();
        let group = admin.describe_group(&self.group).await?;
        let offsets = admin.group_offsets(&self.group).await?;
        let ends = ends(&admin, offsets.keys().cloned().collect()).await?;
        let rows = offsets.iter().map(|(at, committed)| Row {
            at,
            committed,
            end: ends.get(at).copied().unwrap_or(0),
        });
        let rows: Vec<_> = rows.collect();
        if self.json {
            describe_json(&group, &rows)?
        } else {
            describe(&group, &rows)?
        }
        Ok(Done::Well)
    }
}

/// Where a group stands in a partition.
struct Row<'a> {
    at: &'a TopicPartition,
    committed: &'a CommittedOffset,
    end: i64,
}

impl Row<'_> {
    fn lag(&self) -> i64 {
        self.end.saturating_sub(self.committed.offset).max(0)
    }

    /// When it was committed; brokers on the network don't tell.
    fn time(&self) -> Option<Timestamp> {
        let millis = self.committed.timestamp;
        (millis >= 0).then(|| Timestamp::from_millis(millis))
    }
}

async fn ends(
    admin: &Admin,
    partitions: Vec<TopicPartition>,
) -> Result<BTreeMap<TopicPartition, i64>, Failure> {
    let ends = admin.list_offsets(&partitions, OffsetSpec::Latest).await?;
    Ok(ends.into_iter().map(|(at, end)| (at, end.unwrap_or(0))).collect())
}

fn describe(group: &GroupDescription, rows: &[Row<'_>]) -> Result<(), Failure> {
    say(format_args!("group:    {}", printable(&group.group)))?;
    say(format_args!("state:    {}", group.state))?;
    let strategy = group.strategy.as_deref().unwrap_or("none");
    say(format_args!("strategy: {}\n", printable(strategy)))?;
    let mut table =
        Table::new(&["TOPIC", ">PARTITION", ">COMMITTED", ">END", ">LAG", "AT", "METADATA"]);
    for row in rows {
        table.row([
            row.at.topic.to_string(),
            row.at.partition.to_string(),
            row.committed.offset.to_string(),
            row.end.to_string(),
            row.lag().to_string(),
            row.time().map_or("-".to_owned(), time),
            row.committed.metadata.clone(),
        ]);
    }
    if rows.is_empty() {
        say("it has committed nothing")?
    } else {
        table.print()?
    }
    if !group.members.is_empty() {
        say("")?;
        let mut table = Table::new(&["MEMBER", "CLIENT", "HOST", ">PARTITIONS"]);
        for member in &group.members {
            table.row([
                member.member_id.clone(),
                member.client_id.clone(),
                member.client_host.clone(),
                member.assignment.len().to_string(),
            ]);
        }
        table.print()?;
    }
    Ok(())
}

fn describe_json(group: &GroupDescription, rows: &[Row<'_>]) -> Result<(), Failure> {
    let offsets = rows.iter().map(|row| {
        json!({
            "topic": row.at.topic.as_str(),
            "partition": row.at.partition,
            "committed": row.committed.offset,
            "end": row.end,
            "lag": row.lag(),
            "timestamp": row.time().map(Timestamp::as_millis),
            "metadata": row.committed.metadata,
        })
    });
    let members = group.members.iter().map(|member| {
        let assignment = member.assignment.iter().map(TopicPartition::to_string);
        json!({
            "member_id": member.member_id,
            "instance_id": member.instance_id,
            "client_id": member.client_id,
            "client_host": member.client_host,
            "assignment": assignment.collect::<Vec<_>>(),
        })
    });
    say_json(&json!({
        "group": group.group,
        "state": group.state.to_string(),
        "generation": group.generation,
        "protocol_type": group.protocol_type,
        "strategy": group.strategy,
        "offsets": offsets.collect::<Vec<_>>(),
        "members": members.collect::<Vec<_>>(),
    }))?;
    Ok(())
}

impl Reset {
    async fn run(self) -> Outcome {
        if self.dry_run {
            self.tell(&self.place.read().await?).await?;
            return Ok(Done::Well);
        }
        let reset = async |client: &Client| {
            let offsets = self.tell(client).await?;
            client.admin().alter_group_offsets(&self.group, offsets).await?;
            Ok(Done::Well)
        };
        self.place.change(reset).await
    }

    /// Where it stands, and where it is to stand.
    async fn tell(&self, client: &Client) -> Result<BTreeMap<TopicPartition, i64>, Failure> {
        let admin = client.admin();
        let before = match admin.group_offsets(&self.group).await {
            Err(Error::Group { source: ottla::GroupError::GroupIdNotFound, .. }) => BTreeMap::new(),
            offsets => offsets?,
        };
        let partitions = partitions(client, &self.topics, &self.partitions).await?;
        let offsets = self.target(&admin, &partitions).await?;
        let mut table = Table::new(&["TOPIC", ">PARTITION", ">BEFORE", ">AFTER"]);
        for (at, offset) in &offsets {
            let before = before.get(at).map(|it| it.offset.to_string());
            table.row([
                at.topic.to_string(),
                at.partition.to_string(),
                before.unwrap_or("-".to_owned()),
                offset.to_string(),
            ]);
        }
        table.print()?;
        Ok(offsets)
    }

    /// The offsets that are meant. An offset before the first or behind the last is moved there:
    /// whoever begins elsewhere would only get an error.
    async fn target(
        &self,
        admin: &Admin,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, i64>, Failure> {
        let ends = ends(admin, partitions.to_vec()).await?;
        let spec = match self.to {
            Target::Latest => return Ok(ends),
            Target::Earliest | Target::Offset(_) => OffsetSpec::Earliest,
            Target::Time(time) => OffsetSpec::Timestamp(time),
        };
        let mut found = BTreeMap::new();
        for (at, offset) in admin.list_offsets(partitions, spec).await? {
            let end = ends[&at];
            let offset = match (self.to, offset.unwrap_or(end)) {
                (Target::Offset(wanted), start) => {
                    let within = wanted.clamp(start, end.max(start));
                    if within != wanted {
                        eprintln!("ottla: {at} has offsets {start} to {end}, so it is {within}");
                    }
                    within
                }
                (_, offset) => offset,
            };
            found.insert(at, offset);
        }
        Ok(found)
    }
}

impl Delete {
    async fn run(self) -> Outcome {
        let delete = async |client: &Client| {
            let admin = client.admin();
            for group in &self.groups {
                if self.topics.is_empty() {
                    admin.delete_group(group).await?;
                    say(format_args!("deleted {}", printable(group)))?;
                } else {
                    self.delete_offsets(&admin, group).await?;
                }
            }
            Ok(Done::Well)
        };
        self.place.change(delete).await
    }

    async fn delete_offsets(&self, admin: &Admin, group: &str) -> Result<(), Failure> {
        let mut of_topics: Vec<_> = admin.group_offsets(group).await?.into_keys().collect();
        of_topics.retain(|at| self.topics.iter().any(|topic| at.topic.as_str() == topic));
        admin.delete_group_offsets(group, &of_topics).await?;
        for at in of_topics {
            say(format_args!("{} has no offset in {at} any more", printable(group)))?;
        }
        Ok(())
    }
}
