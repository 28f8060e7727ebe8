//! Data directories that can't be had.

use std::fs;
use std::io::{Read, Write};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use ottla::{Broker, Error};
use tempfile::TempDir;

use crate::support::{
    Child, assert_error, child_dir, read_values, runtime, send_all, texts, within,
};

#[tokio::test]
async fn a_file() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("data");
    fs::write(&path, "mine").unwrap();
    let text = path.display().to_string();
    let opened = Broker::open(&path).await;
    assert_error!(opened, Error::Io { .. }, text, "not a directory");
    let opened = Broker::open(path.join("below")).await;
    assert_error!(opened, Error::Io { .. }, text);
    assert_eq!(fs::read(&path).unwrap(), b"mine");
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn one_that_cannot_be_written() {
    // The kernel refuses these to root as well.
    for path in ["/proc/ottla", "/proc/self/fdinfo"] {
        assert_error!(Broker::open(path).await, Error::Io { .. }, path);
    }
}

#[tokio::test]
async fn from_a_later_version() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::open(dir.path()).await.unwrap();
    send_all(&broker.client(), "t", 0..3).await;
    broker.shutdown().await.unwrap();
    let meta = dir.path().join("meta.properties");
    let good = fs::read_to_string(&meta).unwrap();
    assert!(good.contains("ottla.format.version=1\n"), "{good}");
    let path = dir.path().display().to_string();
    for (text, found) in [
        (good.replace("ottla.format.version=1", "ottla.format.version=999"), "999"),
        (good.replace("ottla.format.version=1", "ottla.format.version=x"), "version x"),
        ("version=1\ncluster.id=abc\n".to_owned(), "unknown"),
        (String::new(), "unknown"),
        ("\0\0\0\0".to_owned(), "unknown"),
    ] {
        fs::write(&meta, &text).unwrap();
        let opened = Broker::open(dir.path()).await;
        assert_error!(opened, Error::UnsupportedFormat { .. }, path, found, "up to 1");
        assert_eq!(fs::read_to_string(&meta).unwrap(), text, "it was left alone");
    }
    fs::write(&meta, good).unwrap();
    let broker = Broker::open(dir.path()).await.unwrap();
    assert!(broker.recovery_report().unwrap().clean_shutdown);
    assert_eq!(read_values(&broker.client(), "t").await, texts(0..3));
}

#[tokio::test]
async fn one_that_this_process_has_open() {
    within(async {
        let dir = TempDir::new().unwrap();
        let broker = Broker::open(dir.path()).await.unwrap();
        let path = dir.path().display().to_string();
        let again = Broker::open(dir.path().join(".")).await;
        assert_error!(again, Error::Locked { .. }, path, "another broker of this process");
        send_all(&broker.client(), "t", 0..3).await;
        broker.shutdown().await.unwrap();
        let broker = Broker::open(dir.path()).await.unwrap();
        assert_eq!(read_values(&broker.client(), "t").await, texts(0..3));
    })
    .await;
}

#[test]
fn one_that_another_process_has_open() {
    let dir = TempDir::new().unwrap();
    let mut child = Child::start("bad_input::directories::child_holds_the_directory", dir.path());
    assert_eq!(child.line().as_deref(), Some("open"));
    let runtime = runtime();
    let (path, holder) = (dir.path().display().to_string(), format!("process {}", child.id()));
    let opened = runtime.block_on(Broker::open(dir.path()));
    assert_error!(opened, Error::Locked { .. }, path, holder);
    child.kill();
    assert!(!child.ended_well());
    let broker = runtime.block_on(Broker::open(dir.path())).unwrap();
    assert_eq!(broker.topics().unwrap(), ["held"]);
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn child_holds_the_directory() {
    let Some(dir) = child_dir() else { return };
    let runtime = runtime();
    let broker = runtime.block_on(Broker::open(dir)).unwrap();
    runtime.block_on(send_all(&broker.client(), "held", 0..1));
    std::io::stdout().lock().write_all(b">open\n").unwrap();
    // Until it is killed, or its parent is gone.
    let _ = std::io::stdin().read(&mut [0]);
}

#[tokio::test]
async fn what_is_not_ottlas_is_left_alone_and_reported() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::open(dir.path()).await.unwrap();
    send_all(&broker.client(), "t", 0..3).await;
    broker.shutdown().await.unwrap();
    fs::write(dir.path().join("notes.txt"), "mine").unwrap();
    fs::create_dir(dir.path().join("photos")).unwrap();
    fs::write(dir.path().join("photos/1"), "mine").unwrap();
    fs::write(dir.path().join("t-0/README"), "mine").unwrap();
    fs::create_dir(dir.path().join("t-7")).unwrap();
    let broker = Broker::open(dir.path()).await.unwrap();
    let report = broker.recovery_report().unwrap();
    assert!(report.clean_shutdown);
    assert_eq!(report.foreign, ["notes.txt", "photos", "t-7"]);
    let of_t = &report.partitions[&crate::support::at("t", 0)];
    assert!(of_t.is_clean() && of_t.foreign == ["README"], "{of_t:?}");
    assert_eq!(broker.topics().unwrap(), ["t"]);
    broker.delete_topic("t").await.unwrap();
    broker.shutdown().await.unwrap();
    assert_eq!(fs::read(dir.path().join("notes.txt")).unwrap(), b"mine");
    assert_eq!(fs::read(dir.path().join("photos/1")).unwrap(), b"mine");
}

/// A process that is being started has copies of all descriptors for a moment.
#[cfg(unix)]
#[test]
fn starting_processes_do_not_keep_a_directory_locked() {
    let dir = TempDir::new().unwrap();
    let stop = AtomicBool::new(false);
    let start_processes = || {
        let mut started = 0;
        while !stop.load(Ordering::Relaxed) {
            assert!(Command::new("true").status().unwrap().success());
            started += 1;
        }
        started
    };
    std::thread::scope(|scope| {
        let starting = [(); 2].map(|()| scope.spawn(start_processes));
        let opened: ottla::Result<()> = runtime().block_on(async {
            for _ in 0..200 {
                Broker::open(dir.path()).await?.shutdown().await?;
            }
            Ok(())
        });
        stop.store(true, Ordering::Relaxed);
        assert!(starting.into_iter().all(|starting| starting.join().unwrap() > 0));
        opened.unwrap();
    });
}
