//! When to stop: ctrl-c or SIGTERM.

use ottla::Error;

use crate::output::Failure;

/// Done at the first ctrl-c or SIGTERM. Both are awaited from now on.
pub(crate) fn stop_signal() -> Result<impl Future<Output = ()>, Failure> {
    awaited().map_err(|error| {
        Failure::Ottla(Error::InvalidState(format!("signals can't be awaited: {error}")))
    })
}

#[cfg(unix)]
fn awaited() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Ctrl-c only.
#[cfg(not(unix))]
fn awaited() -> std::io::Result<impl Future<Output = ()>> {
    Ok(async {
        // Where it can't be awaited, the process is killed.
        let _ = tokio::signal::ctrl_c().await;
    })
}
