"""Sets of GLUE and CLUE from directories of their files, in the forms that these have."""

import pytest

from tests.data.written import write
from tfmodels.data.named import SETS, open_named
from tfmodels.errors import InputError

FILES = {
    "mrpc": ("msr_paraphrase_train.txt",
             "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"
             '1\t7\t8\tHe said "no".\t"No," he said.\n',
             ('He said "no".', '"No," he said.', "1")),
    "rte": ("train.tsv", "index\tsentence1\tsentence2\tlabel\n0\ta\tb\tentailment\n",
            ("a", "b", "entailment")),
    "stsb": ("sts-train.csv", 'g\tf\t2012\t1\t3.8\t"a" b\tc\ng\tf\t2012\t2\t1\td\te\tmore\tmore\n',
             ('"a" b', "c", "3.8")),
    "cola": ("train.tsv", "gj04\t1\t\tThe book sank.\n", ("The book sank.", "1")),
    "lcqmc": ("train.txt", "一\t二\t1\n三\t四\t0\n", ("一", "二", "1")),
    "ocnli": ("train.10k.json", '{"sentence1": "a", "sentence2": "b", "label": "-"}\n'
              '{"sentence1": "c", "sentence2": "d", "label": "neutral"}\n', ("c", "d", "neutral")),
    "sick": ("SICK_train.txt", "pair_ID\tsentence_A\tsentence_B\trelatedness_score\t"
             "entailment_judgment\n1\ta\tb\t4.5\tNEUTRAL\n", ("a", "b", "NEUTRAL")),
    "snli": ("train.tsv", "-\tp\th\nneutral\tq\ti\n", ("q", "i", "neutral")),
    "qqp": ("train.tsv", "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n0\t1\t2\ta\tb\t0\n",
            ("a", "b", "0")),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_files(name, tmp_path):
    file, content, first = FILES[name]
    write(tmp_path / file, content)
    rows = open_named(name, "train", tmp_path)
    assert next(rows.rows())[1] == first
    assert len(first) == len(SETS[name].columns)
    with pytest.raises(InputError, match="one file of validation is needed, here are none"):
        open_named(name, "validation", tmp_path)


def test_names(tmp_path):
    with pytest.raises(InputError, match="dataset trec: unknown; give one of cola, sst2, mrpc"):
        open_named("trec")
    with pytest.raises(InputError, match="dataset lcqmc: .* give the --data_dir of its files"):
        open_named("lcqmc")
    for number in "01":
        write(tmp_path / f"train_{number}.json", '{"sentence": "a", "label": "b"}\n')
    with pytest.raises(InputError, match="one file of train is needed, here are train_0.json, tr"):
        open_named("tnews", "train", tmp_path)
