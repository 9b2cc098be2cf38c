//! Where a network trains, as flags and files spell it. What is there to be found, `run/device.rs` knows.

use std::fmt;

use super::value::Value;

/// Where a network trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Device {
    /// A GPU that works, otherwise the processor.
    Auto,
    /// The processor.
    Cpu,
    /// The GPU of this number.
    Cuda(usize),
    /// The emulated CUDA driver.
    Emulated,
}

impl Value for Device {
    const CHOICES: &'static [(&'static str, &'static str)] = &[
        ("auto", "the first GPU where it works, otherwise the processor, and one line that says why"),
        ("cpu", "the processor, on all its cores (see `threads`)"),
        ("cuda", "the first NVIDIA GPU"),
        ("cuda:N", "the NVIDIA GPU of this number, from 0"),
        ("emulated", "the same kernels on a CUDA driver for machines without a GPU; slow, for checks"),
    ];

    fn expects() -> String {
        let words: Vec<&str> = Self::CHOICES.iter().map(|(word, _)| *word).collect();
        format!("one of {}", words.join(", "))
    }

    fn parse(text: &str) -> Option<Self> {
        match text {
            "auto" => Some(Device::Auto),
            "cpu" => Some(Device::Cpu),
            "cuda" => Some(Device::Cuda(0)),
            "emulated" => Some(Device::Emulated),
            _ => text.strip_prefix("cuda:")?.parse().ok().map(Device::Cuda),
        }
    }

    fn toml(&self) -> String {
        format!("\"{self}\"")
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Auto => f.write_str("auto"),
            Device::Cpu => f.write_str("cpu"),
            Device::Cuda(0) => f.write_str("cuda"),
            Device::Cuda(number) => write!(f, "cuda:{number}"),
            Device::Emulated => f.write_str("emulated"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_read_as_it_is_written() {
        for device in [Device::Auto, Device::Cpu, Device::Cuda(0), Device::Cuda(3), Device::Emulated] {
            assert_eq!(Device::parse(&device.to_string()), Some(device));
        }
        for wrong in ["gpu", "cuda:", "cuda:x", "cuda:-1", "CPU", ""] {
            assert_eq!(Device::parse(wrong), None, "{wrong}");
        }
    }
}
