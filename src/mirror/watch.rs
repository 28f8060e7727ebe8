//! Which partitions there are to mirror: one task, which starts another for each.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Settings;
use super::forward::Worker;
use super::stats::Key;
use crate::consumer::Start;
use crate::error::Result;
use crate::topic::TopicPartition;
use crate::transport::Transport;

pub(super) struct Watch {
    settings: Arc<Settings>,
    is_stopped: watch::Receiver<bool>,
    working: BTreeSet<Key>,
    tasks: JoinSet<Key>,
    /// Partitions that could not be begun, for now.
    retries: bool,
}

impl Watch {
    pub(super) fn new(settings: Arc<Settings>, is_stopped: watch::Receiver<bool>) -> Self {
        let (working, tasks) = (BTreeSet::new(), JoinSet::new());
        Watch { settings, is_stopped, working, tasks, retries: false }
    }

    /// With a task for each partition that there is.
    pub(super) async fn begun(mut self) -> Result<Self> {
        let start = self.settings.start;
        self.look(start, false).await?;
        Ok(self)
    }

    pub(super) async fn run(mut self) {
        let mut versions = self.settings.source.metadata_version();
        versions.mark_changed();
        let mut is_stopped = self.is_stopped.clone();
        loop {
            tokio::select! {
                biased;
                () = stopped(&mut is_stopped) => break,
                Some(ended) = self.tasks.join_next() => {
                    match ended {
                        Ok(key) => drop(self.working.remove(&key)),
                        Err(panic) => {
                            tracing::error!(%panic, "a mirror has failed");
                            self.tasks.shutdown().await;
                            break;
                        }
                    }
                }
                () = self.settings.source.ended() => break,
                changed = versions.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    // What comes now was not there when the mirror began.
                    if let Err(error) = self.look(Start::Earliest, true).await {
                        tracing::warn!(%error, "new partitions are not mirrored yet");
                        self.retries = true;
                    }
                }
                () = tokio::time::sleep(super::RETRY), if self.retries => {
                    self.retries = self.look(Start::Earliest, true).await.is_err();
                }
            }
        }
        while self.tasks.join_next().await.is_some() {}
        self.settings.progress.ended();
    }

    /// Starts what is not at work.
    async fn look(&mut self, start: Start, is_late: bool) -> Result<()> {
        for topic in self.settings.clone().topics.iter() {
            let Some(known) = self.settings.source.known_topic(topic.as_str()) else { continue };
            for partition in 0..known.partitions {
                let key = (TopicPartition { topic: topic.clone(), partition }, known.id);
                if self.working.contains(&key) {
                    continue;
                }
                let worker =
                    Worker::new(self.settings.clone(), key.clone(), start, is_late).await?;
                let runtime = worker.runtime();
                let is_stopped = self.is_stopped.clone();
                self.working.insert(key.clone());
                self.tasks.spawn_on(
                    async move {
                        worker.run(is_stopped).await;
                        key
                    },
                    &runtime,
                );
            }
        }
        Ok(())
    }
}

/// Done when the mirror is to stop; also if nobody is left who could say so.
pub(super) async fn stopped(is_stopped: &mut watch::Receiver<bool>) {
    let _ = is_stopped.wait_for(|it| *it).await;
}
