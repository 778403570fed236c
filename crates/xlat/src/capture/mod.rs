//! `xlat capture`: the daemon's stream of packets that were not passed on, as lines for people, as JSON, or as pcapng.

mod pcapng;
mod text;

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use xlat_control::capture::{CaptureLine, CapturedPacket};
use xlat_control::{Client, Lines};

use crate::cli;
use crate::commands::remote::PATIENCE;
use crate::commands::trouble::Trouble;
use crate::failure::{Failure, Outcome};
use pcapng::Pcapng;

/// Captures until told to end.
pub(crate) fn capture(arguments: &cli::Capture) -> Outcome<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client =
            Client::new(&arguments.device, rustix::process::geteuid().as_raw()).with_patience(PATIENCE);
        let lines = match client.rows(&request(arguments)).await {
            Ok(lines) => lines,
            Err(error) => return Ok(Trouble::from(error).tell(arguments.json)),
        };
        let mut form = Form::of(arguments)?;
        let copied = copy(lines, &mut form, arguments.count);
        let done = match arguments.seconds {
            Some(seconds) => {
                let ended = tokio::time::timeout(Duration::from_secs(seconds), copied).await;
                ended.unwrap_or(Ok(()))
            }
            None => copied.await,
        };
        done.or_else(reader_gone)?;
        Ok(ExitCode::SUCCESS)
    })
}

/// The request that asks for what is wanted.
fn request(arguments: &cli::Capture) -> String {
    let mut request = format!("/v1/capture?snap-length={}", arguments.snap_length);
    if !arguments.reasons.is_empty() {
        request.push_str("&reasons=");
        // Names are words of small letters and hyphens; anything else is no name, and must not become another parameter.
        let names = arguments.reasons.iter().map(|name| name.replace(|c: char| !c.is_alphanumeric(), "-"));
        request.push_str(&names.collect::<Vec<_>>().join(","));
    }
    if let Some(within) = arguments.within {
        request.push_str(&format!("&within={within}"));
    }
    request
}

/// Why copying ended early.
enum Ended {
    /// By what is written to.
    Output(io::Error),
    /// By the daemon or the connection.
    Failed(Failure),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// A reader that has seen enough, such as `head`, is no failure.
fn reader_gone(ended: Ended) -> Outcome {
    match ended {
        Ended::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Ended::Output(error) => Err(Failure::doing("cannot write", &error)),
        Ended::Failed(failure) => Err(failure),
    }
}

async fn copy(mut lines: Lines, form: &mut Form, count: Option<u64>) -> Result<(), Ended> {
    let mut seen = 0;
    loop {
        match lines.next().await.map_err(|error| Ended::Failed(error.into()))? {
            None => return Err(Ended::Failed(Failure::new("the daemon has ended"))),
            Some(CaptureLine::Lost { lost }) => form.lost(lost)?,
            Some(CaptureLine::Packet(packet)) => {
                form.packet(&packet)?;
                seen += 1;
            }
        }
        if count.is_some_and(|count| seen >= count) {
            return Ok(());
        }
    }
}

/// What becomes of a packet here.
enum Form {
    Text(io::Stdout),
    Json(io::Stdout),
    Pcapng(Box<Pcapng<BufWriter<Box<dyn Write>>>>),
}

impl Form {
    fn of(arguments: &cli::Capture) -> Outcome<Self> {
        let Some(file) = &arguments.write else {
            return Ok(if arguments.json { Self::Json(io::stdout()) } else { Self::Text(io::stdout()) });
        };
        let out: Box<dyn Write> = if file == Path::new("-") {
            if io::stdout().is_terminal() {
                return Err(Failure::new(
                    "pcapng is nothing to look at: send standard output to a file or into Wireshark",
                ));
            }
            Box::new(io::stdout())
        } else {
            let opened = File::create(file);
            Box::new(
                opened.map_err(|error| Failure::doing(format!("cannot write {}", file.display()), &error))?,
            )
        };
        Ok(Self::Pcapng(Box::new(Pcapng::begin(
            BufWriter::new(out),
            &arguments.device,
            arguments.snap_length,
        )?)))
    }

    fn packet(&mut self, packet: &CapturedPacket) -> io::Result<()> {
        match self {
            Self::Text(out) => text::line(packet, out),
            Self::Json(out) => json(packet, out),
            Self::Pcapng(pcapng) => pcapng.packet(packet),
        }
    }

    fn lost(&mut self, lost: u64) -> io::Result<()> {
        match self {
            Self::Json(out) => json(&CaptureLine::Lost { lost }, out),
            Self::Text(_) => {
                writeln!(io::stderr(), "xlat: {lost} packets are missing here, there were too many at a time")
            }
            Self::Pcapng(pcapng) => {
                pcapng.lost(lost);
                Ok(())
            }
        }
    }
}

fn json(line: &impl serde::Serialize, out: &mut io::Stdout) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    out.write_all(&text)?;
    out.flush()
}

/// The bytes that hexadecimal digits stand for; the rest after anything else is left out.
fn bytes(digits: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = digits.as_bytes().as_chunks::<2>().0.iter();
    pairs.map_while(|[high, low]| Some((digit(*high)? << 4 | digit(*low)?) as u8)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_become_bytes() {
        assert_eq!(bytes("4500fF"), [0x45, 0, 0xff]);
        assert_eq!(bytes("45x0"), [0x45]);
        assert!(bytes("").is_empty());
    }
}
