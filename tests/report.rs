//! Do others read what the program reports? TensorBoard reads the event files, a resumed log equals the unbroken one, and the
//! video of a dream plays.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use dreamer_fast::report::journal::{EVENTS_NAME, Journal, JournalState, METRICS_NAME};
use dreamer_fast::report::metrics::TIME_DEPENDENT;
use dreamer_fast::report::open_loop::OpenLoop;
use dreamer_fast::report::tensorboard::{EventFile, Stamp};
use dreamer_fast::report::{Canvas, picture};

/// A fresh directory under the build's own scratch space.
fn scratch(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report").join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

/// One stretch of a run: an update a step, a line of means every 5 updates, an episode every 7 steps.
fn log_steps(journal: &mut Journal, steps: std::ops::Range<u64>) {
    for step in steps {
        journal.add("model_loss", (step as f64).sqrt());
        journal.add("div", 1.0 / (step as f64 + 0.1));
        if step % 5 == 4 {
            journal.write_means(step, &[("fps", Stamp::now(step).wall_time)]).unwrap();
        }
        if step % 7 == 6 {
            journal.write(step, "sim", &[("train/return", step as f64), ("train/length", 7.0)]).unwrap();
        }
    }
}

/// The lines of a metrics file without the values that depend on the clock.
fn timeless_lines(logdir: &Path) -> Vec<String> {
    let text = fs::read_to_string(logdir.join(METRICS_NAME)).unwrap();
    let line = |line: &str| {
        let mut object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
        TIME_DEPENDENT.iter().for_each(|name| {
            object.shift_remove(*name);
        });
        serde_json::to_string(&object).unwrap()
    };
    text.lines().map(line).collect()
}

/// The event file with each wall time (bytes 1 to 8 of an event) and the checksum over it blanked out, and `fps` left out.
fn timeless_events(logdir: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(logdir.join(EVENTS_NAME)).unwrap();
    let mut rest = bytes.as_slice();
    let mut events = Vec::new();
    while !rest.is_empty() {
        let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
        let data = &rest[12..12 + length];
        assert_eq!(data[0], 0x09, "an event begins with its wall time");
        if !data.windows(9).any(|w| w == b"agent/fps") {
            events.push(data[9..].to_vec());
        }
        rest = &rest[12 + length + 4..];
    }
    events
}

/// For every step at which a run may be stopped and resumed, with lines logged after the checkpoint and then lost.
#[test]
fn a_resumed_log_equals_the_unbroken_one() {
    let whole = scratch("unbroken");
    log_steps(&mut Journal::open(&whole, &JournalState::default()).unwrap(), 0..40);
    assert!(timeless_lines(&whole).len() == 13 && timeless_events(&whole).len() == 1 + 8 * 2 + 5 * 2);

    for stop in 0..40 {
        let broken = scratch("resumed");
        let mut journal = Journal::open(&broken, &JournalState::default()).unwrap();
        log_steps(&mut journal, 0..stop);
        let state = serde_json::to_string(&journal.checkpoint().unwrap()).unwrap();
        log_steps(&mut journal, stop..40.min(stop + 9));
        drop(journal);

        let state: JournalState = serde_json::from_str(&state).unwrap();
        log_steps(&mut Journal::open(&broken, &state).unwrap(), stop..40);
        assert_eq!(timeless_lines(&broken), timeless_lines(&whole), "stopped at step {stop}");
        assert_eq!(timeless_events(&broken), timeless_events(&whole), "stopped at step {stop}");
    }
}

#[test]
fn a_fresh_run_empties_an_earlier_log() {
    let logdir = scratch("fresh");
    log_steps(&mut Journal::open(&logdir, &JournalState::default()).unwrap(), 0..40);
    log_steps(&mut Journal::open(&logdir, &JournalState::default()).unwrap(), 0..10);
    assert_eq!(timeless_lines(&logdir).len(), 3);
    assert_eq!(timeless_events(&logdir).len(), 1 + 2 * 2 + 2);
}

/// A picture that moves: a disc travels over a sloping ground; the model's disc lags behind after five frames.
fn sample_video(size: usize, sequences: usize) -> Vec<Canvas> {
    let steps = 20;
    let disc = |t: f32, b: usize, x: usize, y: usize, c: usize| {
        let center = (0.15 + 0.035 * t) * size as f32;
        let height = (0.3 + 0.4 * b as f32 / sequences as f32) * size as f32;
        let distance = ((x as f32 - center).powi(2) + (y as f32 - height).powi(2)).sqrt();
        let inside = (size as f32 * 0.12 - distance + 0.5).clamp(0.0, 1.0);
        let ground = 0.25 + 0.5 * (x + y) as f32 / (2 * size) as f32 * [0.6, 0.8, 1.0][c];
        ground + inside * ([0.95, 0.75, 0.2][c] - ground)
    };
    let mut truth = Vec::new();
    let mut model = Vec::new();
    for t in 0..steps {
        for (b, y, x, c) in (0..sequences)
            .flat_map(|b| (0..size).flat_map(move |y| (0..size).flat_map(move |x| (0..3).map(move |c| (b, y, x, c)))))
        {
            truth.push((255.0 * disc(t as f32, b, x, y, c)).round() as u8);
            let lag = if t < 5 { 0.0 } else { 0.12 * (t - 4) as f32 };
            model.push(0.03 + 0.94 * disc(t as f32 - lag, b, x, y, c));
        }
    }
    let video =
        OpenLoop { truth: &truth, model: &model, steps, sequences, height: size, width: size, observed: 5, scale: 2 };
    video.frames()
}

/// The frames of a GIF as RGB pixels, each drawn over the one before it.
fn play(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut options = gif::DecodeOptions::new();
    options.set_color_output(gif::ColorOutput::RGBA);
    let mut decoder = options.read_info(bytes).unwrap();
    let mut screen = vec![0; 3 * usize::from(decoder.width()) * usize::from(decoder.height())];
    let mut played = Vec::new();
    while let Some(frame) = decoder.read_next_frame().unwrap() {
        for (to, pixel) in screen.chunks_mut(3).zip(frame.buffer.chunks(4)).filter(|(_, pixel)| pixel[3] == 255) {
            to.copy_from_slice(&pixel[..3]);
        }
        played.push(screen.clone());
    }
    played
}

/// A dream has far more than 256 colours; the GIF stays near it in every frame.
#[test]
fn a_dream_plays_in_nearly_its_own_colours() {
    let frames = sample_video(64, 6);
    let path = scratch("dream").join("dream.gif");
    picture::write_gif(&path, &frames, 20.0).unwrap();
    picture::write_png(&path.with_extension("png"), &frames[12]).unwrap();
    let played = play(&fs::read(&path).unwrap());
    assert_eq!(played.len(), frames.len());
    for (t, (frame, shown)) in frames.iter().zip(&played).enumerate() {
        let squares = frame.pixels().iter().zip(shown).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
        let error = (squares.sum::<f64>() / shown.len() as f64).sqrt();
        assert!(error < 3.0, "frame {t} is off by {error} of 255 (root mean square)");
    }
}

/// What TensorBoard's own reader makes of a file, one line a fact; compared with what was written.
const READER: &str = r#"
import io, sys
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
reader = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "images": 0, "tensors": 0})
reader.Reload()
for tag in sorted(reader.Tags()["scalars"]):
    for e in reader.Scalars(tag):
        print("scalar", tag, e.step, e.value, e.wall_time)
for tag in sorted(reader.Tags()["images"]):
    for e in reader.Images(tag):
        picture = Image.open(io.BytesIO(e.encoded_image_string))
        print("image", tag, e.step, e.width, e.height, picture.format, picture.n_frames, picture.size)
for tag in sorted(reader.Tags()["tensors"]):
    for e in reader.Tensors(tag):
        print("text", tag, e.step, e.tensor_proto.string_val[0].decode())
        print("plugin", reader.SummaryMetadata(tag).plugin_data.plugin_name)
"#;

/// Python with the packages tensorboard and pillow: `target/venv`, else the one on the path.
fn python() -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/python");
    [own, PathBuf::from("python3")].into_iter().find(|python| {
        let probe = Command::new(python).args(["-c", "import PIL, tensorboard"]).output();
        probe.is_ok_and(|output| output.status.success())
    })
}

#[test]
fn tensorboard_reads_scalars_videos_and_text() {
    let Some(python) = python() else {
        println!(
            "skipped: no Python with the packages tensorboard and pillow (python3 -m venv target/venv && target/venv/bin/pip install tensorboard pillow)"
        );
        return;
    };
    let path = scratch("tensorboard").join(EVENTS_NAME);
    let at = |step| Stamp { step, wall_time: 1_700_000_000.5 };
    let mut events = EventFile::open_at(&path, 0).unwrap();
    events.scalar(at(1), "agent/div", 3.25).unwrap();
    let checkpoint = events.durable_length().unwrap();
    events.scalar(at(2), "agent/div", 666.0).unwrap();
    drop(events);
    // Resumed: the value of step 2 is measured again.
    let mut events = EventFile::open_at(&path, checkpoint).unwrap();
    events.scalar(at(2), "agent/div", f64::NAN).unwrap();
    events.scalar(at(3_000_000_000), "agent/div", -0.5).unwrap();
    let frames = sample_video(16, 2);
    let (width, height) = (frames[0].width(), frames[0].height());
    events.image(at(7), "agent/openl", width, height, &picture::gif(&frames, 20.0).unwrap()).unwrap();
    events.text(at(0), "config", "seed = **0**, größer").unwrap();
    drop(events);

    let output =
        Command::new(python).env("PYTHONIOENCODING", "utf-8").arg("-c").arg(READER).arg(&path).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "TensorBoard's reader failed:\n{errors}");
    let want = format!(
        "scalar agent/div 1 3.25 1700000000.5\n\
         scalar agent/div 2 nan 1700000000.5\n\
         scalar agent/div 3000000000 -0.5 1700000000.5\n\
         image agent/openl 7 {width} {height} GIF 20 ({width}, {height})\n\
         text config 0 seed = **0**, größer\n\
         plugin text\n"
    );
    assert_eq!(String::from_utf8_lossy(&output.stdout), want, "\n{errors}");
}
