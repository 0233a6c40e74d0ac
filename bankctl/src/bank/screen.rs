//! What a person sees while the bank starts and runs, on standard error.

use crate::output;
use indicatif::ProgressBar;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Where progress is shown: a spinner on a terminal, plain lines elsewhere, or nothing.
#[derive(Clone)]
pub(crate) struct Screen {
    inner: Arc<Inner>,
}

enum Inner {
    Terminal(Mutex<Option<ProgressBar>>),
    Lines,
    Silent,
}

impl Screen {
    /// For a person at a terminal, or for a log when nobody watches.
    pub(crate) fn new() -> Screen {
        let inner = if output::is_watched() { Inner::Terminal(Mutex::new(None)) } else { Inner::Lines };
        Screen { inner: Arc::new(inner) }
    }

    /// Shows nothing: for banks that are only a means.
    pub(crate) fn silent() -> Screen {
        Screen { inner: Arc::new(Inner::Silent) }
    }

    /// Says what is being waited for.
    pub(crate) fn working(&self, text: &str) {
        match &*self.inner {
            Inner::Terminal(spinner) => {
                let mut spinner = spinner.lock().unwrap_or_else(PoisonError::into_inner);
                let spinner = spinner.get_or_insert_with(|| {
                    let spinner = ProgressBar::new_spinner();
                    spinner.enable_steady_tick(Duration::from_millis(100));
                    spinner
                });
                spinner.set_message(text.to_owned());
            }
            Inner::Lines => output::note(text),
            Inner::Silent => {}
        }
    }

    /// Says what is done.
    pub(crate) fn done(&self, text: &str) {
        self.line(&format!("✓ {text}"));
    }

    /// Prints a line above the spinner.
    pub(crate) fn line(&self, text: &str) {
        match &*self.inner {
            Inner::Terminal(spinner) => match &*spinner.lock().unwrap_or_else(PoisonError::into_inner) {
                Some(spinner) => spinner.suspend(|| output::note(text)),
                None => output::note(text),
            },
            Inner::Lines => output::note(text),
            Inner::Silent => {}
        }
    }

    /// Takes the spinner away.
    pub(crate) fn rest(&self) {
        if let Inner::Terminal(spinner) = &*self.inner
            && let Some(spinner) = spinner.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            spinner.finish_and_clear();
        }
    }
}
