//! [`Renewed`]: something made of files, and made again when these change.

use super::files::File;
use super::pem::wrong;
use super::{RENEWAL_INTERVAL, TlsError};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::MissedTickBehavior;

/// Makes it of the files' contents, in their order.
pub(super) type Make<T, const N: usize> = fn([(&File, &[u8]); N]) -> Result<T, TlsError>;

/// Something made of N files. What was made last stays until something new could be made.
pub(super) struct Renewed<T, const N: usize> {
    files: [File; N],
    make: Make<T, N>,
    current: Mutex<Arc<T>>,
    /// What the files were at the last look: a digest, because one of them is a secret.
    seen: Mutex<Result<blake3::Hash, TlsError>>,
}

impl<T: Send + Sync + 'static, const N: usize> Renewed<T, N> {
    pub(super) fn new(files: [File; N], make: Make<T, N>) -> Result<Renewed<T, N>, TlsError> {
        let texts = read(&files)?;
        let made = make(pairs(&files, &texts))?;
        let seen = Mutex::new(Ok(digest(&texts)));
        Ok(Renewed { files, make, current: Mutex::new(Arc::new(made)), seen })
    }

    /// What was made last.
    pub(super) fn current(&self) -> Arc<T> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at the files. None when they are as they were at the last look, also when they were wrong then.
    pub(super) fn renew(&self) -> Option<Result<(), TlsError>> {
        let texts = read(&self.files);
        let now = texts.as_ref().map(|texts| digest(texts)).map_err(Clone::clone);
        let before = std::mem::replace(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner), now.clone());
        if before == now {
            return None;
        }
        let made = texts.and_then(|texts| (self.make)(pairs(&self.files, &texts)));
        Some(made.map(|made| *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(made)))
    }

    /// Looks at the files again and again, and says so when they changed: once for each change, whether what they hold
    /// can be used or not.
    pub(super) async fn keep(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(RENEWAL_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let renewed = Arc::clone(&self);
            // A volume may take long to answer.
            let looked = tokio::task::spawn_blocking(move || renewed.renew()).await;
            let certificate = self.files.first().map(|file| file.path.display());
            match looked {
                Ok(Some(Ok(()))) => {
                    tracing::info!(
                        certificate = certificate.map(tracing::field::display),
                        "new certificates are in use"
                    );
                }
                Ok(Some(Err(error))) => {
                    tracing::error!(%error, "new certificates cannot be used; the ones before stay in use");
                }
                // The runtime is ending.
                Ok(None) | Err(_) => {}
            }
        }
    }
}

fn read<const N: usize>(files: &[File; N]) -> Result<[Vec<u8>; N], TlsError> {
    let mut texts = [const { Vec::new() }; N];
    for (file, text) in files.iter().zip(&mut texts) {
        *text = std::fs::read(&file.path).map_err(|error| wrong(file, &error.to_string()))?;
    }
    Ok(texts)
}

fn pairs<'a, const N: usize>(files: &'a [File; N], texts: &'a [Vec<u8>; N]) -> [(&'a File, &'a [u8]); N] {
    std::array::from_fn(|place| (&files[place], texts[place].as_slice()))
}

fn digest(texts: &[Vec<u8>]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for text in texts {
        // Each by itself, so that nothing can move from one file into its neighbour unseen.
        hasher.update(blake3::hash(text).as_bytes());
    }
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// Both texts together, as long as neither is "wrong".
    fn joined(files: [(&File, &[u8]); 2]) -> Result<Vec<u8>, TlsError> {
        match files.iter().find(|(_, text)| *text == b"wrong") {
            Some((file, _)) => Err(wrong(file, "is wrong")),
            None => Ok(files.map(|(_, text)| text).concat()),
        }
    }

    fn write(directory: &Path, name: &str, text: &str) {
        std::fs::write(directory.join(name), text).expect("written");
    }

    /// Made of the files `a` and `b` of a directory.
    fn of(directory: &Path) -> Result<Renewed<Vec<u8>, 2>, TlsError> {
        let file = |setting, name| File { setting, path: directory.join(name) };
        Renewed::new([file("--a", "a"), file("--b", "b")], joined)
    }

    #[test]
    fn what_changed_is_made_again_and_what_did_not_is_left_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let directory = directory.path();
        write(directory, "a", "1");
        write(directory, "b", "2");
        let renewed = of(directory).expect("made");
        let first = renewed.current();
        write(directory, "a", "1");
        assert_eq!(renewed.renew(), None);
        write(directory, "b", "3");
        assert_eq!(renewed.renew(), Some(Ok(())));
        assert_eq!((first.as_slice(), renewed.current().as_slice()), (&b"12"[..], &b"13"[..]));
        assert_eq!(renewed.renew(), None);
        // The same bytes, another file.
        write(directory, "a", "13");
        write(directory, "b", "");
        assert_eq!(renewed.renew(), Some(Ok(())));
    }

    #[test]
    fn what_is_wrong_is_told_once_and_the_last_good_stays() {
        let directory = tempfile::tempdir().expect("a directory");
        let directory = directory.path();
        write(directory, "a", "1");
        write(directory, "b", "2");
        let renewed = of(directory).expect("made");
        write(directory, "b", "wrong");
        let told = renewed.renew().expect("it changed").expect_err("it is wrong");
        assert_eq!(told.to_string(), format!("--b {}: is wrong", directory.join("b").display()));
        assert_eq!(renewed.renew(), None);
        std::fs::remove_file(directory.join("a")).expect("removed");
        assert!(renewed.renew().expect("it changed").is_err_and(|told| told.to_string().contains("No such file")));
        assert_eq!(renewed.renew(), None);
        assert_eq!(renewed.current().as_slice(), b"12");
        write(directory, "a", "4");
        write(directory, "b", "5");
        assert_eq!(renewed.renew(), Some(Ok(())));
        assert_eq!(renewed.current().as_slice(), b"45");
    }

    #[test]
    fn nothing_is_made_of_files_that_are_not_there() {
        let directory = tempfile::tempdir().expect("a directory");
        assert!(of(directory.path()).is_err_and(|error| error.to_string().starts_with("--a ")));
    }
}
