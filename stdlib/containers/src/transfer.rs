//! Fetching, building and loading images, with progress.

use std::collections::HashMap;

use futures_util::StreamExt;
use hob_model::OpError;
use hob_primitive::{Ctx, Progress};

use crate::images::Auth;
use crate::port::{Engine, EngineError, Fault, Login, PortStream, Step};
use crate::problem::{Subject, error, explain};

/// How much of the output of a build an error shows, in characters.
const OUTPUT_CHARS_MAX: usize = 4000;

/// What a stream of steps came to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// What the engine said, cut at the front.
    pub(crate) output: String,
    /// Whether layers came over the network.
    pub(crate) downloaded: bool,
}

/// Fetches an image; whether anything was downloaded.
pub(crate) async fn pull(
    cx: &Ctx,
    engine: &dyn Engine,
    image: &str,
    auth: Option<&Auth>,
    platform: Option<&str>,
) -> Result<bool, OpError> {
    let name = tagged(image);
    let before = engine.image(&name).await.ok().and_then(|image| image.id);
    let login = auth.map(|auth| Login {
        user: auth.username.clone(),
        password: auth.password.clone(),
        server: registry(image).to_owned(),
    });
    let steps = engine.pull(&name, login, platform);
    follow(cx, engine, &format!("pulling {image}"), Subject::Image(image), steps).await?;
    match engine.image(&name).await {
        Ok(now) => Ok(now.id != before),
        Err(cause) if cause.is_absent() => {
            let cause = EngineError::new(Fault::Other, "the engine fetched nothing");
            Err(error(&engine.address(), Subject::Image(image), &cause))
        }
        Err(cause) => Err(error(&engine.address(), Subject::Image(image), &cause)),
    }
}

/// The name with `:latest` where there is neither tag nor digest: Docker would fetch all tags.
#[must_use]
pub(crate) fn tagged(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    match last.contains([':', '@']) {
        true => image.to_owned(),
        false => format!("{image}:latest"),
    }
}

/// The registry of an image: what stands before the first slash when it has a dot or a port, else Docker's.
#[must_use]
pub(crate) fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => "docker.io",
    }
}

/// Reads the steps to their end and tells of the progress.
pub(crate) async fn follow(
    cx: &Ctx,
    engine: &dyn Engine,
    message: &str,
    subject: Subject<'_>,
    mut steps: PortStream<Step>,
) -> Result<Outcome, OpError> {
    let mut layers: HashMap<String, (u64, u64)> = HashMap::new();
    let mut outcome = Outcome::default();
    while let Some(step) = steps.next().await {
        let step = match step {
            Ok(step) => step,
            Err(cause) if cause.is_absent() => return Err(explain(engine, subject, cause).await),
            Err(cause) => {
                let it = error(&engine.address(), subject, &cause);
                return Err(match outcome.output.trim() {
                    "" => it,
                    output => it.detail("output", output),
                });
            }
        };
        if let (Some(id), Some(bytes)) = (step.id, step.bytes) {
            layers.insert(id, bytes);
        }
        outcome.downloaded = !layers.is_empty();
        outcome.output.push_str(&step.text);
        if !step.text.ends_with('\n') {
            outcome.output.push('\n');
        }
        cut_front(&mut outcome.output);
        let (done, total) =
            layers.values().fold((0, 0), |(done, total), layer| (done + layer.0, total + layer.1));
        cx.progress(Progress {
            message: message.to_owned(),
            done,
            total: (total > 0).then_some(total),
            bytes: true,
        });
    }
    Ok(outcome)
}

/// Keeps the end of a text that grew too long.
fn cut_front(text: &mut String) {
    if text.len() > 2 * OUTPUT_CHARS_MAX {
        let mut from = text.len() - OUTPUT_CHARS_MAX;
        while !text.is_char_boundary(from) {
            from += 1;
        }
        text.drain(..from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_images() {
        for (image, full, at) in [
            ("nginx", "nginx:latest", "docker.io"),
            ("nginx:1.27", "nginx:1.27", "docker.io"),
            ("ghcr.io/a/b", "ghcr.io/a/b:latest", "ghcr.io"),
            ("localhost:5000/a/b:1", "localhost:5000/a/b:1", "localhost:5000"),
            ("localhost:5000/a", "localhost:5000/a:latest", "localhost:5000"),
            ("a/b@sha256:00", "a/b@sha256:00", "docker.io"),
        ] {
            assert_eq!((tagged(image).as_str(), registry(image)), (full, at));
        }
    }

    #[test]
    fn long_output_keeps_its_end() {
        let mut text = "ä".repeat(3 * OUTPUT_CHARS_MAX) + "end";
        cut_front(&mut text);
        assert!(text.len() <= 2 * OUTPUT_CHARS_MAX && text.ends_with("end"));
    }
}
