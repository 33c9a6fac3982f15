"""Lists of class names as people and data sets write them: read for what they are, or refused."""

import json

import pytest

from activesam_ros.errors import VocabularyError
from activesam_ros.vocabulary.files import load_vocabulary_file

STREET = ("road", "traffic sign", "car")


def names(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    file = load_vocabulary_file(path)
    assert all(one.prompts[0] == one.name for one in file.classes)
    return tuple(one.name for one in file.classes)


@pytest.mark.parametrize(
    "text",
    [
        "road\ntraffic sign\ncar\n",
        "0: road\n1: traffic sign\n2: car\n",
        "0:road\n1:traffic sign\n10:car\n",
        "1. road\n2. traffic sign\n3. car\n",
        "1) road\n2) traffic sign\n3) car\n",
        "[0] road\n[1] traffic sign\n[2] car\n",
        "0 road\n1 traffic sign\n2 car\n",
        "0\troad\n1\ttraffic sign\n2\tcar\n",
        "0, road\n1, traffic sign\n2, car\n",
        "0 - road\n1 - traffic sign\n2 - car\n",
        "2: car\n0: road\n1: traffic sign\n",
        "road: 0\ntraffic sign: 1\ncar: 2\n",
        "road 0\ntraffic sign 1\ncar 2\n",
        "* road\n* traffic sign\n* car\n",
        "n04096066 road\nn06794110 traffic sign\nn02958343 car\n",
        "road,0\ntraffic sign,1\ncar,2\n",
        "'road',\n'traffic sign',\n'car',\n",
        '"road"\n"traffic sign"\n"car"\n',
        '["road", "traffic sign", "car"]',
        '{"0": "road", "1": "traffic sign", "2": "car"}',
        "road; traffic sign; car",
        "road; traffic sign; car;\n",
        "# label:color_rgb:parts:actions\nroad:128,64,128::\ntraffic sign:220,220,0::\ncar:0,0,142::\n",
        "128 64 128 road\n220 220 0 traffic sign\n0 0 142 car\n",
        "128 64 128\t\troad\n220 220 0\ttraffic sign\n0 0 142\tcar\n",
        "road 128 64 128\ntraffic sign 220 220 0\ncar 0 0 142\n",
        "0 road 128 64 128\n1 traffic sign 220 220 0\n2 car 0 0 142\n",
        "Idx\tRatio\tTrain\tName\n1\t0.15\t11664\troad\n2\t0.10\t6046\ttraffic sign\n3\t0.08\t8265\tcar\n",
        "Pixel Value, Class\n0, road\n1, traffic sign\n2, car\n",
        "name,r,g,b\nroad,128,64,128\ntraffic sign,220,220,0\ncar,0,0,142\n",
    ],
)
def test_a_text_file_is_read_for_the_list_that_it_is(tmp_path, text):
    assert names(tmp_path, "classes.txt", text) == STREET
    assert names(tmp_path, "windows.names", "\ufeff" + text.replace("\n", "\r\n")) == STREET


@pytest.mark.parametrize(
    "text",
    [
        "road\ntraffic sign\ncar\n",
        "name\nroad\ntraffic sign\ncar\n",
        "0,road\n1,traffic sign\n2,car\n",
        '"0","road"\n"1","traffic sign"\n"2","car"\n',
        "id;class_name;colour\n7;road;a\n20;traffic sign;b\n26;car;c\n",
        "id,name,color\n26,car,blue\n7,road,grey\n20,traffic sign,yellow\n",
        "name,r,g,b\nroad,128,64,128\ntraffic sign,22,220,0\ncar,0,0,142\n",
        "Idx,Ratio,Train,Val,Stuff,Name\n1,0.1,9,1,1,road\n2,0.1,9,1,0,traffic sign\n3,0.1,9,1,0,car\n",
        "Nummer,Wort\n0,road\n1,traffic sign\n2,car\n",
    ],
)
def test_a_table_is_read_by_the_column_of_names(tmp_path, text):
    assert names(tmp_path, "classes.csv", text) == STREET
    assert names(tmp_path, "CLASSES.TSV", text.replace(",", "\t")) == STREET


@pytest.mark.parametrize(
    "content",
    [
        ["road", "traffic sign", "car"],
        {"0": "road", "10": "car", "2": "traffic sign"},
        {"car": 2, "road": 0, "traffic sign": 1},
        {"classes": ["road", "traffic sign", "car"], "version": 3},
        {"id2label": {"0": "road", "1": "traffic sign", "2": "car"}, "model_type": "segformer"},
        {
            "categories": [
                {"id": 3, "name": "car"},
                {"id": 1, "name": "road"},
                {"id": 2, "name": "traffic sign"},
            ]
        },
        {"labels": [{"name": f"a--{name}", "readable": name} for name in STREET]},
        {"0": {"name": "road"}, "1": {"name": "traffic sign"}, "2": {"name": "car"}},
    ],
)
def test_json_is_read_in_its_usual_forms(tmp_path, content):
    assert names(tmp_path, "classes.json", json.dumps(content, indent=1)) == STREET


def test_synonyms_of_a_data_set_are_aliases_of_the_first_class_that_has_them(tmp_path):
    path = tmp_path / "objectInfo150.csv"
    rows = ["1,0.1,building;edifice", "2,0.1,screen;silver screen", "3,0.1,crt screen;screen"]
    path.write_text("\n".join(["Idx,Ratio,Name", *rows]))
    found = load_vocabulary_file(path)
    assert [one.prompts for one in found.classes] == [
        ("building", "edifice"),
        ("screen", "silver screen"),
        ("crt screen",),
    ]


def test_words_with_numbers_are_words(tmp_path):
    for text in (
        "2 door car\n4 door car\n",
        "route 66\nterminal 2\n",
        "3-wheeler\n4-wheeler\n",
        "gate 1\ngate 2\n",
        "7\nseven up\n",
    ):
        assert names(tmp_path, "classes.txt", text) == tuple(text.split("\n")[:-1])


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.txt", "road, car, sky", "all 3 names are on one line"),
        (
            "a.txt",
            "person bicycle car motorcycle airplane bus train truck boat",
            "all 9 names are on one line",
        ),
        ("a.txt", "'road', 'car', 'sky'", "all 3 names are on one line"),
        ("a.txt", "road\n1: car\n", "line 2: '1: car' is no class name and not written like the other"),
        ("a.txt", "road, 7\ncar\n", "line 1: 'road, 7' is no class name"),
        ("a.txt", "0\n1\n2\n", "line 1: this is a list of numbers"),
        ("a.txt", "item {\n  name: 'road'\n}\n", "line 1: 'item {' is no class name"),
        ("a.txt", "path: ../data\nroad\n", "line 1: 'path: ../data' is no class name"),
        ("a.txt", "<html>\n<body>\n", "line 1: '<html>' is no class name"),
        ("a.txt", "import os\nclasses = 3\n", "line 2: 'classes = 3' is no class name"),
        ("a.txt", "road; street\ncar; auto\n", "line 1: 'road; street' has semicolons"),
        ("a.txt", '["road", "car"', "is not JSON"),
        ("a.json", "road\ncar\n", "line 1: this is not JSON"),
        ("a.json", '{"model": "x", "size": [1, 2]}', "is JSON without class names"),
        ("a.json", "[1, 2]", "is JSON without class names"),
        ("a.json", '{"0": "road", "0": "car"}', "the key '0' twice"),
        ("a.csv", "road,street\ncar,auto\n", "line 1: it is not clear which column has the class names"),
        ("a.csv", "0,road\n1\n", "line 2: this row has 1 columns, and line 1 has 2"),
        ("a.csv", "id,name\n0,road\n1,\n", "line 3: the class has a blank name"),
        ("a.csv", "", "has no classes"),
        ("a.txt", "road\nc\0ar\n", "line 2: 'c\\x00ar' has the control character U+0000"),
    ],
)
def test_what_is_no_list_of_names_is_refused_in_one_sentence(tmp_path, name, text, said):
    with pytest.raises(VocabularyError) as refusal:
        names(tmp_path, name, text)
    assert said in str(refusal.value) and "a." in str(refusal.value) and "\n" not in str(refusal.value)
