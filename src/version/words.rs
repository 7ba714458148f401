//! The words that give a number in a checkpoint's name its meaning, all in lower case.
//!
//! Tables only; `scan` reads names by them. Taken from what the writers in use call their files.

/// Words before the number of a step.
pub(super) const STEP: &[&[u8]] = &[b"step", b"steps", b"globalstep", b"iter", b"iteration"];
/// Words before a number that is a step unless a word of `STEP` says another.
pub(super) const CHECKPOINT: &[&[u8]] = &[b"checkpoint", b"ckpt", b"chkpt", b"chkpnt"];
/// Words before the number of an epoch. Not the plural: `epochs_100` is how long a training is to last.
pub(super) const EPOCH: &[&[u8]] = &[b"epoch", b"ep"];
/// Composer's batch counter, known only where the number follows at once: `ep3-ba500`.
pub(super) const BATCH: &[u8] = b"ba";
/// Words that make a counter a setting: `max_steps`, `warmup_steps`, `steps_per_epoch`.
pub(super) const SETTING: &[&[u8]] = &[
    b"max",
    b"min",
    b"total",
    b"num",
    b"n",
    b"nb",
    b"per",
    b"every",
    b"warmup",
    b"accum",
    b"accumulation",
    b"interval",
];
/// Names before `=` that are settings, never measured.
pub(super) const HYPERPARAMETER: &[&[u8]] = &[
    b"lr",
    b"learning_rate",
    b"seed",
    b"fold",
    b"bs",
    b"batch",
    b"batch_size",
    b"wd",
    b"weight_decay",
    b"dropout",
    b"rank",
    b"world_size",
    b"trial",
    b"run",
    b"version",
    b"layers",
    b"hidden",
    b"dim",
    b"momentum",
    b"gpus",
    b"nodes",
];
/// Words of measured values, known without `=` where a decimal number follows: `val_loss_0.12`.
pub(super) const METRIC: &[&[u8]] = &[
    b"loss",
    b"acc",
    b"accuracy",
    b"auc",
    b"auroc",
    b"map",
    b"iou",
    b"miou",
    b"dice",
    b"bleu",
    b"rouge",
    b"ppl",
    b"perplexity",
    b"wer",
    b"cer",
    b"mse",
    b"mae",
    b"rmse",
    b"psnr",
    b"ssim",
    b"fid",
    b"reward",
    b"score",
    b"error",
    b"precision",
    b"recall",
];
/// Words that say what a value was measured on.
pub(super) const QUALIFIER: &[&[u8]] = &[
    b"val",
    b"valid",
    b"validation",
    b"train",
    b"training",
    b"test",
    b"eval",
    b"dev",
    b"best",
    b"avg",
    b"mean",
    b"ema",
];
/// Other words of checkpoint names, endings included (Lightning names directories `epoch=3-step=100.ckpt` too).
pub(super) const COMPANION: &[&[u8]] = &[
    b"global",
    b"model",
    b"weights",
    b"state",
    b"best",
    b"last",
    b"latest",
    b"final",
    b"ema",
    b"hf",
    b"dcp",
    b"full",
    b"sharded",
    b"unsharded",
    b"consolidated",
    b"ckpt",
    b"checkpoint",
    b"pt",
    b"pth",
    b"bin",
    b"safetensors",
    b"distcp",
    b"zarr",
    b"orbax",
    b"keras",
    b"tf",
];
