"""--help, without an import that costs time."""

from __future__ import annotations

from rechub_cli.config.locate import conf_dir
from rechub_cli.shell.options import (
    SELECTABLE,
    Key,
    all_keys,
    chosen_options,
    config_dir,
    default_option,
    keys_of,
    options_of,
)

VERBS = {
    "train": "train a model, rank it beside both baselines, export its towers",
    "evaluate": "rank a finished run again: other cut-offs, candidates, seen items",
    "export": "write and prove the ONNX towers of a finished run again",
    "models": "list the models",
    "check": "read, split and report the data, without training",
    "estimate": "measure some steps and say what time and memory a run would take",
    "data": "fetch a public data set into the cache, or say where to get it",
    "completion": "print the completion script of a shell",
}
EXIT_CODES = """exit codes
  0  done
  1  a gate failed (ONNX parity, a loss that is not finite, an estimate beyond the memory), or
     some points of a sweep failed
  2  a mistake in the command, the config or the data
  3  a bug of ours: the log is named
  130, 143  interrupted (Ctrl-C, SIGTERM): the best epoch so far stays, see evaluate"""
FLAGS = """flags
  -m, --multirun       sweep: rechub train -m model=mind,dssm seed=0,1,2
  --cfg job            print the composed config and stop
  --info [KIND]        print how the config was composed
  --config-dir DIR     a folder with groups of your own (DIR/model/mine.yaml)
  --config-name NAME   another root config
  --version"""
EXAMPLES = {
    "train": (
        "rechub train model=mind",
        "rechub train model=dssm data=table data.path=events/ data.columns.user=visitor "
        "data.columns.item=sku data.columns.timestamp=ts",
        "rechub train -m model=mind,youtube_dnn,dssm trainer=listwise,pairwise seed=0,1,2",
        "rechub train recipe=ml_100k_mind data.path=ml-100k",
    ),
    "check": (
        "rechub check data=ml_100k data.path=ml-100k",
        "rechub check data=table data.path='events/*.parquet'",
        "rechub check data=table data.path=log.csv data.filters.min_item_events=5",
    ),
    "estimate": (
        "rechub estimate model=mind data=ml_100k data.path=ml-100k",
        "rechub estimate model=dssm data=table data.path=events/ trainer=pairwise",
        "rechub estimate -m model=mind,dssm trainer.batch_size=512,2048",
    ),
    "evaluate": (
        "rechub evaluate run=runs/demo-mind/2026-01-31_12-00-00-000000",
        "rechub evaluate run=DIR top_k=[1,100] candidates=trained",
        "rechub evaluate run=DIR mask_seen=false split=valid by=[history_length,popularity]",
        "rechub evaluate run=DIR diversity.category=genres diversity.factors=[0,0.1,0.25,0.5,1]",
    ),
    "export": (
        "rechub export run=runs/demo-mind/2026-01-31_12-00-00-000000",
        "rechub export run=DIR tolerance=1e-5",
        "rechub export run=DIR data.path=/new/place/events.parquet",
    ),
}
USAGE = {
    "models": "rechub models\n\nName, training modes, what it needs, interests, paper.",
    "data": "rechub data ml_100k|ml_1m|amazon_beauty\n\nml_100k: downloads MovieLens 100k from "
    "GroupLens into the cache (RECHUB_CACHE, else\nXDG_CACHE_HOME/rechub, else ~/.cache/rechub) "
    "and checks its MD5.\nml_1m, amazon_beauty: says which file to put there by hand, and checks "
    "it once it is there.",
    "completion": "rechub completion bash|zsh|fish\n\nFor example: "
    'eval "$(rechub completion bash)"',
}


def overview() -> str:
    """``rechub --help``."""
    verbs = "\n".join(f"  {name:<11}{text}" for name, text in VERBS.items())
    examples = "\n".join(f"  {EXAMPLES[v][0]}" for v in ("train", "check", "evaluate"))
    return (
        "rechub VERB [FLAG ...] [KEY=VALUE ...]\n\nRetrieval recommenders from one declarative "
        f"config.\n\nverbs\n{verbs}\n\nexamples\n{examples}\n\n{EXIT_CODES}\n\n"
        "`rechub VERB --help` says more."
    )


def verb_help(verb: str, words: list[str]) -> str:
    """``rechub VERB --help``. words: the others; the options among them decide on the keys."""
    if verb in USAGE:
        return USAGE[verb]
    examples = "\n".join(f"  {line}" for line in EXAMPLES[verb])
    body = _groups(words) if verb in ("train", "check", "estimate") else _run_keys(verb)
    return (
        f"rechub {verb} [FLAG ...] [KEY=VALUE ...]\n\n{VERBS[verb].capitalize()}.\n\n"
        f"{body}\n\n{FLAGS}\n\nexamples\n{examples}\n\n{EXIT_CODES}"
    )


def _groups(words: list[str]) -> str:
    own, chosen = config_dir(words), chosen_options(words)
    lines = ["groups: GROUP=OPTION (* is the default)"]
    for group in SELECTABLE:
        lines.append(f"  {group}")
        options = options_of(group, own)
        width = max(12, *map(len, options)) + 1
        for option, text in options.items():
            mark = "*" if option == default_option(group) else " "
            lines.append(f"   {mark}{option:<{width}}{text}")
    lines += ["", f"keys of {' '.join(f'{g}={o}' for g, o in chosen.items()) or 'the defaults'}"]
    lines[-1] += ": KEY=VALUE; --help beside other options has theirs"
    lines += [_key_line(key) for key in all_keys(chosen, own)]
    return "\n".join(lines)


def _run_keys(verb: str) -> str:
    keys = keys_of(conf_dir() / f"{verb}_run.yaml")
    return "\n".join(["keys: KEY=VALUE", *(_key_line(key) for key in keys)])


def _key_line(key: Key) -> str:
    setting = f"{key.name}={key.default}"
    return f"  {setting:<48} {key.comment}".rstrip()
