//! The Apache Kafka at `OTTLA_TEST_KAFKA=host:port`, for one test at a time, and without topics and
//! groups at its beginning.

use ottla::{Client, Error, GroupError};
use tokio::sync::{Mutex, MutexGuard};

/// Where it is.
pub(crate) fn address() -> String {
    std::env::var("OTTLA_TEST_KAFKA").expect("OTTLA_TEST_KAFKA=host:port says where Kafka is")
}

/// It is the caller's alone, as far as this process goes.
pub(crate) async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    ALONE.lock().await
}

/// Deletes all groups and topics. Members that leave are waited for, also those of a test that
/// failed, whose sessions have to end.
pub(crate) async fn clear() {
    let client = Client::connect(&address()).await.unwrap();
    let admin = client.admin();
    for group in admin.groups().await.unwrap() {
        loop {
            let deleted = admin.delete_group(&group).await;
            match deleted {
                Ok(()) | Err(Error::Group { source: GroupError::GroupIdNotFound, .. }) => break,
                Err(Error::Group { source: GroupError::NonEmptyGroup { .. }, .. }) => {}
                Err(error) => panic!("{error}"),
            }
            let told = admin.describe_group(&group).await;
            for instance_id in told.iter().flat_map(|it| &it.members).flat_map(|it| &it.instance_id)
            {
                // It may have gone meanwhile.
                drop(admin.remove_member(&group, instance_id).await);
            }
        }
    }
    for topic in admin.topics().await.unwrap() {
        admin.delete_topic(topic.as_str()).await.unwrap();
    }
    while !admin.topics().await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
}
