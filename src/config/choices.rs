//! The keys that choose between named ways: one enum each, its words as they are written in flags and files.

use super::value::choice;

choice! {
    /// The numbers that matrix products multiply. Parameters, sums and everything else are f32 in any case.
    Precision {
        /// f32
        F32 = "f32",
        /// f32 rounded to 10 bits behind the point, by tensor cores, on CUDA only; products within a scan of the world model stay f32
        Tf32 = "tf32",
        /// bf16, faster where the processor has AMX or AMD's AVX512-BF16, slower elsewhere; last layers of heads and logits of states stay f32.
        /// On CUDA by tensor cores, last layers included; products within a scan of the world model stay f32
        Bf16 = "bf16",
    }
}

choice! {
    /// What the agent sees.
    Observation {
        /// the 7x7 egocentric view of a gridworld as one-hot planes of objects, colours and states
        Symbolic = "symbolic",
        /// the same view as a picture of 7 x 7 tiles
        RgbPartial = "rgb_partial",
        /// a picture of the whole grid
        RgbFull = "rgb_full",
        /// a vector of numbers, for tasks that have one (Pendulum-v1)
        Vector = "vector",
    }
}

choice! {
    /// The layouts of a gridworld that evaluations play.
    EvalLayouts {
        /// those that training never sees (see `holdout`): what was learned, not what was memorised
        Unseen = "unseen",
        /// all, as often as the task itself deals them, and so comparable with scores that were published for the task
        All = "all",
    }
}

choice! {
    /// What happens to a reward before it is learned from.
    ClipRewards {
        /// rewards as the environment gives them
        None = "none",
        /// tanh(reward), as published for Atari
        Tanh = "tanh",
    }
}

choice! {
    /// An activation function.
    Activation {
        /// x above 0, e^x - 1 below
        Elu = "elu",
        /// max(x, 0)
        Relu = "relu",
        /// hyperbolic tangent
        Tanh = "tanh",
        /// x / (1 + e^-x), as in DreamerV3
        Silu = "silu",
    }
}

choice! {
    /// Normalisation of a layer before its activation, with a learned scale.
    Norm {
        /// as in DreamerV1
        None = "none",
        /// mean 0 and variance 1, and a learned offset, as in DreamerV2
        Layer = "layer",
        /// mean square 1, as in DreamerV3
        Rms = "rms",
    }
}

choice! {
    /// The stochastic part of the RSSM's state.
    Latent {
        /// `stoch_size` independent normals, as in DreamerV1
        Gaussian = "gaussian",
        /// `stoch_size` variables of `latent_classes` classes, straight-through, as in DreamerV2
        Categorical = "categorical",
    }
}

choice! {
    /// How a symbolic observation is judged.
    SymbolicLoss {
        /// unit normal around every one-hot entry
        Normal = "normal",
        /// cross-entropy of object, colour and state of every cell
        Categorical = "categorical",
    }
}

choice! {
    /// The output distribution of the reward and value heads.
    ScalarDist {
        /// normal of standard deviation 1, as in DreamerV1
        Normal = "normal",
        /// normal of standard deviation 1 around symlog of the number, as the vector decoder of DreamerV3
        SymlogNormal = "symlog_normal",
        /// two-hot classes over symlog bins, as in DreamerV3 (see `twohot_bins`)
        Twohot = "twohot",
    }
}

choice! {
    /// Which windows of the stored experience can become a chunk.
    Chunks {
        /// only windows inside one episode; an episode shorter than a chunk is padded and masked
        Within = "within",
        /// any window of the stream; it may cross episodes, and the state is reset where one begins
        Across = "across",
    }
}

choice! {
    /// The actor's distribution.
    ActionDist {
        /// onehot for discrete actions, tanh_normal for continuous ones
        Auto = "auto",
        /// a normal squashed by tanh, for continuous actions
        TanhNormal = "tanh_normal",
        /// one categorical, for discrete actions
        Onehot = "onehot",
    }
}

choice! {
    /// Where the actor's gradient comes from.
    ActorGrad {
        /// back-propagation through the imagined dynamics, as in DreamerV1
        Dynamics = "dynamics",
        /// log-probability times advantage, as DreamerV2 does for discrete actions
        Reinforce = "reinforce",
        /// both, `actor_grad_mix` of the first, as DreamerV2 can
        Mixed = "mixed",
    }
}

choice! {
    /// What becomes of the prior in imagination.
    ImagPrior {
        /// a sample of it, as in DreamerV1
        Sample = "sample",
        /// its mean, so that what is imagined has no chance in it but the actor's
        Mean = "mean",
    }
}

choice! {
    /// Noise on the actions while collecting, on top of the sampled policy.
    Exploration {
        /// epsilon_greedy for discrete actions, additive_gaussian for continuous ones
        Auto = "auto",
        /// the sampled action as it is
        None = "none",
        /// a normal of standard deviation `expl_amount`, clipped to [-1, 1]; continuous actions
        AdditiveGaussian = "additive_gaussian",
        /// with probability `expl_amount` a uniform action; discrete actions
        EpsilonGreedy = "epsilon_greedy",
    }
}
