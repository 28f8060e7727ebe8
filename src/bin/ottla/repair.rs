//! `ottla repair`.

use std::path::PathBuf;

use ottla::RecoveryReport;
use serde_json::json;

use crate::output::{Done, Failure, Outcome, printable, progress, say, say_json, size};
use crate::place::{change, losses, read};

#[derive(clap::Args)]
#[command(after_help = AFTER)]
pub(crate) struct Repair {
    /// The data directory
    directory: PathBuf,

    /// Shows what would be done, and changes nothing
    #[arg(long)]
    dry_run: bool,

    /// Writes JSON
    #[arg(long)]
    json: bool,
}

const AFTER: &str = "\
This is what every open does by itself: cut logs at the first batch that is not whole (what is cut
off is set aside in a file beside it), pass what can't be read, make indexes anew, settle what was
under way. A broker need not be repaired before it is started; do it to see what happens, and first
with --dry-run. It reads only what may be unfinished, and not all there is, which `ottla verify`
does: what that finds to be lost does not come back, and is passed by whoever reads.

The exit code is 3 if records or settings are found to be lost.";

impl Repair {
    pub(crate) async fn run(self) -> Outcome {
        let bar = progress(None, "opening");
        let broker = match self.dry_run {
            true => read(&self.directory).await,
            false => change(&self.directory).await,
        };
        bar.finish_and_clear();
        let broker = broker?;
        let report = broker.recovery_report().cloned().unwrap_or_default();
        broker.shutdown().await?;
        if self.json {
            say_json(&as_json(&report))?
        } else {
            self.tell(&report)?
        }
        Ok(Done::losing(losses(&report).next().is_some()))
    }

    fn tell(&self, report: &RecoveryReport) -> Result<(), Failure> {
        let was = if self.dry_run { "would be" } else { "was" };
        for (at, recovered) in &report.partitions {
            for cut in &recovered.cut {
                let (bytes, file) = (size(cut.bytes), &cut.file);
                say(format_args!(
                    "{at}: it {was} cut at offset {}: {bytes}, set aside in {at}/{file}",
                    cut.offset
                ))?;
            }
            if recovered.rewritten {
                say(format_args!("{at}: it {was} written anew, as a sync had failed"))?;
            }
        }
        for line in losses(report) {
            say(line)?;
        }
        for name in &report.stray {
            say(format_args!("a folder in the way {was} renamed to {}", printable(name)))?;
        }
        for name in &report.foreign {
            say(format_args!("{} is not ottla's, and left alone", printable(name)))?;
        }
        let how = match report.clean_shutdown {
            true => "the last broker here closed it properly",
            false => "the last broker here did not close it",
        };
        let mended = match report.partitions.values().filter(|it| !it.is_clean()).count() {
            0 => "nothing is to be mended".to_owned(),
            1 => format!("1 partition {was} mended"),
            many => format!("{many} partitions {} mended", was.replace("was", "were")),
        };
        let scanned = size(report.scanned_bytes);
        say(format_args!("{how}; {mended}, {scanned} read in {:.1?}", report.took))?;
        Ok(())
    }
}

fn as_json(report: &RecoveryReport) -> serde_json::Value {
    let partitions = report.partitions.iter().map(|(at, recovered)| {
        let cut = recovered.cut.iter();
        let lost = recovered.lost.iter();
        json!({
            "topic": at.topic.as_str(),
            "partition": at.partition,
            "cut": cut.map(|it| json!({
                "offset": it.offset,
                "bytes": it.bytes,
                "file": it.file,
            })).collect::<Vec<_>>(),
            "lost": lost.map(|it| json!({ "from": it.from, "to": it.to })).collect::<Vec<_>>(),
            "rewritten": recovered.rewritten,
            "foreign": recovered.foreign,
        })
    });
    let topics = report.topics_without_catalog.iter().map(|it| it.as_str());
    json!({
        "clean_shutdown": report.clean_shutdown,
        "partitions": partitions.collect::<Vec<_>>(),
        "topics_without_catalog": topics.collect::<Vec<_>>(),
        "unreadable_catalog_records": report.unreadable_catalog_records,
        "stray": report.stray,
        "foreign": report.foreign,
        "scanned_bytes": report.scanned_bytes,
    })
}
