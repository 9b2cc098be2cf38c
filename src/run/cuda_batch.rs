//! Batches on their way to a CUDA device. The replay's bytes travel as they are and become floats there, by `kernels/observation.cu`; and they
//! travel while the update before them runs.
//!
//! There are two slots, each with page-locked memory of the host and memory of the device, and a stream for copies alone. A batch takes three steps:
//!
//! 1. the host fills the page-locked memory of a slot, once the last copy from there is done;
//! 2. the stream of copies brings it to the slot's device memory, once the kernels have read the batch that lay there;
//! 3. the stream of the kernels makes the inputs of the training step from it, once the copy is done, and goes on with the update.
//!
//! Steps 1 and 2 of a batch can come before the update of the batch before is over: that one has been read out of the other slot. The captured graph
//! of the update knows nothing of slots: it reads the inputs of the plan, which always lie in the same place.

use super::objects::OBJECTS;
use super::world::World;
use crate::autodiff::Var;
use crate::autodiff::cuda_exec::CudaPlan;
use crate::base::Result;
use crate::device::cuda::kernels::{
    Entry, Fill, In, Kernels, Out, PixelsFromBytes, PlanesFromSymbols, WeightsFromPixels, WeightsFromSymbols,
};
use crate::device::cuda::{Buffer, Context, Event, Pinned, Stream};
use crate::dreamer::Observation;
use crate::dreamer::step::Batch;
use crate::replay::ObsKind;

/// A batch in the memory of the host and of the device.
pub struct Slot {
    bytes: Pinned<u8>,
    floats: Pinned<f32>,
    bytes_there: Buffer<u8>,
    floats_there: Buffer<f32>,
}

impl Slot {
    /// Copies what the host has filled to the device, on a stream that first waits for `after`: the last reading of this slot.
    ///
    /// # Errors
    /// The context is broken.
    pub fn copy(&mut self, on: &Stream, after: Option<&Event>) -> Result<Event> {
        after.map_or(Ok(()), |read| on.wait(read))?;
        self.bytes_there.upload_pinned(on, &mut self.bytes)?;
        self.floats_there.upload_pinned(on, &mut self.floats)?;
        on.record()
    }
}

/// The host's memory of a batch, to be filled: all entries of the sequences, time-major.
pub struct Staging<'a> {
    /// Stored bytes of the observations [T B, ...]; empty where they are numbers.
    pub bytes: &'a mut [u8],
    /// Observations that are numbers, as the network sees them [T B, size]; empty where they are bytes.
    pub obs: &'a mut [f32],
    /// Actions [T B, A].
    pub action: &'a mut [f32],
    /// Rewards [T B].
    pub reward: &'a mut [f32],
    /// Targets of the continue head [T B].
    pub pcont_target: &'a mut [f32],
    /// 0 where an episode begins, otherwise 1 [T B].
    pub keep: &'a mut [f32],
}

/// How a slot becomes the observations of the network.
enum Encoding {
    /// They are numbers, and copied.
    Copied,
    /// Bytes of pixels.
    Pixels,
    /// Symbols of cells, as one-hot planes: the classes of each of a cell's variables, and how many planes a cell has.
    Planes { classes: Buffer<u32>, cells: usize, width: usize },
}

/// Where the weights of the loss of an observation come from.
enum Weights {
    /// The types of the cells: how many cells there are, and how many symbols each has.
    Cells { cells: usize, variables: usize },
    /// The tiles of the pictures: a table of those that show objects, how many these are, and the side of a tile.
    Tiles { table: Buffer<u8>, known: usize, side: usize, height: usize, width: usize },
    /// All are 1: pictures that are not made of tiles. How many pixels there are.
    Ones(usize),
}

/// How a slot becomes the inputs of a training step.
pub struct Encoder {
    object_weight: f32,
    /// Entries of a batch.
    rows: usize,
    /// Bytes of a batch.
    bytes: usize,
    encoding: Encoding,
    obs: Out<f32>,
    weights: Option<(Out<f32>, Weights)>,
    /// Inputs that are copied, and their lengths, in the order in which they lie in the floats of a slot: those of [`Staging`].
    copied: [(Var, usize); 5],
}

impl Encoder {
    /// For a training step of this world, whose batch is from now on filled by [`encode`](Self::encode).
    ///
    /// # Errors
    /// The device's memory is full.
    pub fn new(world: &World, batch: &Batch, plan: &mut CudaPlan, stream: &Stream) -> Result<Encoder> {
        let (c, observation) = (world.config(), &world.model.observation);
        let (rows, size) = (c.batch_size * c.chunk_length(), world.layout.observation_size());
        let encoding = match (world.layout.observation, observation) {
            (ObsKind::Floats, _) => Encoding::Copied,
            (ObsKind::Bytes, Observation::Symbolic { cells, classes }) => Encoding::Planes {
                classes: uploaded(stream, &classes.iter().map(|&n| n as u32).collect::<Vec<_>>())?,
                cells: rows * cells,
                width: classes.iter().sum(),
            },
            (ObsKind::Bytes, _) => Encoding::Pixels,
        };
        let weights = |weight| {
            let from = match (observation, world.object_tiles()) {
                (&Observation::Image { height, width, .. }, Some(tiles)) => {
                    let (table, side) = (tiles.table(), tiles.side());
                    let known = table.len() / (side * side * 3);
                    Weights::Tiles { table: uploaded(stream, &table)?, known, side, height, width }
                }
                (Observation::Image { height, width, .. }, None) => Weights::Ones(rows * height * width),
                (Observation::Symbolic { cells, classes }, _) => {
                    Weights::Cells { cells: rows * cells, variables: classes.len() }
                }
                (Observation::Vector { .. }, _) => unreachable!("a vector has no weights"),
            };
            Ok((plan.feed(weight), from))
        };
        let weights = batch.weight.map(weights).transpose()?;
        let floats = if matches!(encoding, Encoding::Copied) { rows * size } else { 0 };
        let actions = rows * world.model.actions.size();
        let copied = [
            (batch.obs, floats),
            (batch.action, actions),
            (batch.reward, rows),
            (batch.pcont_target, rows),
            (batch.keep, rows),
        ];
        let fed = copied.map(|(var, _)| plan.feed(var));
        Ok(Encoder {
            object_weight: c.object_weight as f32,
            rows,
            bytes: rows * size - floats,
            encoding,
            obs: fed[0],
            weights,
            copied,
        })
    }

    /// Memory for a batch, on the host all zero.
    ///
    /// # Errors
    /// Page-locked memory or the device's is full.
    pub fn slot(&self, context: &Context) -> Result<Slot> {
        let floats = self.copied.iter().map(|&(_, len)| len).sum();
        Ok(Slot {
            bytes: Pinned::new(context, self.bytes)?,
            floats: Pinned::new(context, floats)?,
            bytes_there: Buffer::new(context, self.bytes)?,
            floats_there: Buffer::new(context, floats)?,
        })
    }

    /// The host's memory of a slot. Waits until the last copy from there is done.
    ///
    /// # Errors
    /// What that copy's stream did wrong.
    pub fn staging<'a>(&self, slot: &'a mut Slot) -> Result<Staging<'a>> {
        let [(_, obs), (_, action), (_, reward), (_, target), _] = self.copied;
        let (obs, rest) = slot.floats.values()?.split_at_mut(obs);
        let (action, rest) = rest.split_at_mut(action);
        let (reward, rest) = rest.split_at_mut(reward);
        let (pcont_target, keep) = rest.split_at_mut(target);
        Ok(Staging { bytes: slot.bytes.values()?, obs, action, reward, pcont_target, keep })
    }

    /// Fills the inputs of the training step from a slot, on the stream of the kernels, which first waits for `after`: the copy to this slot. Returns
    /// when the slot has been read.
    ///
    /// # Errors
    /// The context is broken.
    pub fn encode(&self, slot: &Slot, plan: &mut CudaPlan, on: &Kernels, after: &Event) -> Result<Event> {
        on.stream().wait(after)?;
        let mut first = 0;
        for &(var, len) in &self.copied {
            if len > 0 {
                plan.copy_input(var, &slot.floats_there, first, len)?;
            }
            first += len;
        }
        let bytes = In::at(slot.bytes_there.address());
        match &self.encoding {
            Encoding::Copied => {}
            Encoding::Pixels => PixelsFromBytes { pixels: self.obs, bytes, n: self.bytes }.threads(on, self.bytes)?,
            &Encoding::Planes { ref classes, cells, width } => {
                let (variables, classes) = (classes.len(), In::at(classes.address()));
                PlanesFromSymbols { planes: self.obs, symbols: bytes, classes, cells, variables, width }
                    .threads(on, cells * width)?;
            }
        }
        if let Some((weights, from)) = &self.weights {
            self.weigh(*weights, from, bytes, on)?;
        }
        on.stream().record()
    }

    fn weigh(&self, weights: Out<f32>, from: &Weights, bytes: In<u8>, on: &Kernels) -> Result<()> {
        let weight = self.object_weight;
        match *from {
            Weights::Cells { cells, variables } => {
                let (first, last) = (u32::from(*OBJECTS.start()), u32::from(*OBJECTS.end()));
                WeightsFromSymbols { weights, symbols: bytes, cells, variables, first, last, weight }.threads(on, cells)
            }
            Weights::Tiles { ref table, known, side, height, width } => {
                let (tiles, pictures) = (In::at(table.address()), self.rows);
                WeightsFromPixels { weights, pixels: bytes, tiles, pictures, height, width, side, known, weight }
                    .warps(on, pictures * (height / side) * (width / side))
            }
            Weights::Ones(n) => Fill { y: weights, n, c: 1.0 }.threads(on, n),
        }
    }
}

/// Device memory with these values.
fn uploaded<T: bytemuck::Pod>(stream: &Stream, values: &[T]) -> Result<Buffer<T>> {
    let mut buffer = Buffer::new(stream.context(), values.len())?;
    buffer.upload(stream, values)?;
    Ok(buffer)
}

/// The two slots of a run, taken in turn.
pub struct Batches {
    encoder: Encoder,
    copies: Stream,
    slots: [Slot; 2],
    /// When each slot was last read.
    read: [Option<Event>; 2],
    /// The slot that is filled next.
    next: usize,
    /// A batch that was sent and not yet encoded: its slot, and when its copy is done.
    sent: Option<(usize, Event)>,
}

impl Batches {
    /// For a training step of this world.
    ///
    /// # Errors
    /// Page-locked memory or the device's is full.
    pub fn new(world: &World, batch: &Batch, plan: &mut CudaPlan, stream: &Stream) -> Result<Batches> {
        let context = stream.context();
        let encoder = Encoder::new(world, batch, plan, stream)?;
        let slots = [encoder.slot(context)?, encoder.slot(context)?];
        Ok(Batches { encoder, copies: context.stream()?, slots, read: [None, None], next: 0, sent: None })
    }

    /// The host's memory for the next batch.
    ///
    /// # Errors
    /// The context is broken.
    pub fn staging(&mut self) -> Result<Staging<'_>> {
        self.encoder.staging(&mut self.slots[self.next])
    }

    /// Sends the next batch on its way, and does not wait for it.
    ///
    /// # Errors
    /// The context is broken.
    ///
    /// # Panics
    /// If the batch before was not encoded.
    pub fn send(&mut self) -> Result<()> {
        assert!(self.sent.is_none(), "the batch before this one was never used");
        let slot = self.next;
        let copied = self.slots[slot].copy(&self.copies, self.read[slot].as_ref())?;
        self.sent = Some((slot, copied));
        self.next = 1 - slot;
        Ok(())
    }

    /// Fills the inputs of the training step from the batch that was sent, before whatever the kernels' stream is given next.
    ///
    /// # Errors
    /// The context is broken.
    ///
    /// # Panics
    /// If none was sent.
    pub fn encode(&mut self, plan: &mut CudaPlan, on: &Kernels) -> Result<()> {
        let (slot, copied) = self.sent.take().expect("a batch was sent");
        self.read[slot] = Some(self.encoder.encode(&self.slots[slot], plan, on, &copied)?);
        Ok(())
    }
}
