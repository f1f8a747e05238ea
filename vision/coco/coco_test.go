package coco

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sightline-edge/sightline/vision"
)

const small = `{
 "info": {"year": 2026},
 "images": [
  {"id": 7, "file_name": "a/1.png", "width": 40, "height": 30, "state": "bad", "place": "left", "step": 3, "lit": true, "tags": ["x"], "note": null},
  {"id": 3, "file_name": "b/1.png", "width": 20, "height": 10, "state": "uncertain"},
  {"id": 5, "file_name": "2.png", "width": 20.0, "height": 10}
 ],
 "categories": [{"id": 2, "name": "scratch", "supercategory": "fault"}, {"id": 1, "name": "dent"}],
 "annotations": [
  {"id": 1, "image_id": 7, "category_id": 2, "bbox": [1, 2, 3, 4], "area": 11.5, "iscrowd": 0, "segmentation": [[]]},
  {"id": 9, "image_id": 7, "category_id": 1, "segmentation": [[0, 0, 10, 0, 10, 10, 0, 10]], "iscrowd": false},
  {"id": 4, "image_id": 3, "category_id": 1, "bbox": [0, 0, 5, 5], "segmentation": {"size": [10, 20], "counts": [0, 5, 195]}, "iscrowd": 1, "ignore": 1},
  {"id": 5, "image_id": 5, "category_id": 1, "bbox": [0, 0, 2, 2], "segmentation": {"size": [10, 20], "counts": ":280Z5"}}
 ]}`

func parsed(t *testing.T) *File {
	t.Helper()
	f, err := Parse("small.json", []byte(small))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestParse(t *testing.T) {
	want := &File{
		Path: "small.json",
		Images: []Image{
			{7, "a/1.png", 40, 30, Bad, map[string]string{"place": "left", "step": "3", "lit": "true"}},
			{3, "b/1.png", 20, 10, Uncertain, map[string]string{}},
			{5, "2.png", 20, 10, "", map[string]string{}},
		},
		Categories: []Category{{2, "scratch", "fault"}, {1, "dent", ""}},
		Annotations: []Annotation{
			{ID: 1, Image: 7, Category: 2, Box: [4]float64{1, 2, 3, 4}, Area: 11.5},
			{ID: 9, Image: 7, Category: 1, Box: [4]float64{0, 0, 10, 10}, Area: 100, Polygons: [][]float64{{0, 0, 10, 0, 10, 10, 0, 10}}},
			{ID: 4, Image: 3, Category: 1, Box: [4]float64{0, 0, 5, 5}, Area: 5, Crowd: true, Ignore: true, RLE: &RLE{20, 10, []uint32{0, 5, 195}}},
			{ID: 5, Image: 5, Category: 1, Box: [4]float64{0, 0, 2, 2}, Area: 4, RLE: &RLE{20, 10, []uint32{10, 2, 8, 2, 178}}},
		},
	}
	f := parsed(t)
	if diff := cmp.Diff(want, f, cmpopts.IgnoreUnexported(File{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := f.Names(); !cmp.Equal(got, []string{"dent", "scratch"}) {
		t.Errorf("names by id are %v", got)
	}
	for id, want := range map[int64][2]bool{7: {true, true}, 3: {false, false}, 5: {true, true}, 8: {false, false}} {
		if bad, known := f.Bad(id); bad != want[0] || known != want[1] {
			t.Errorf("image %d: bad %v, known %v", id, bad, known)
		}
	}
	if _, err := f.Mask(&f.Annotations[0]); err == nil || !strings.Contains(err.Error(), "annotation 1 has a box and no segmentation") {
		t.Errorf("the mask of a box: %v", err)
	}
	if u, err := f.Union(3); err != nil || u.Area() != 5 {
		t.Errorf("the union of image 3 is %v, %v", u, err)
	}
	if _, err := f.Union(8); err == nil {
		t.Error("the union of no image")
	}
}

func TestFind(t *testing.T) {
	f := parsed(t)
	for _, c := range []struct {
		dir, file string
		id        int64
		want      string
	}{
		{"data", "data/a/1.png", 7, ""},
		{"data", "data/b/1.png", 3, ""},
		{"elsewhere", "data/2.png", 5, ""},
		{"data/a", "data/a/1.png", 0, "several images called 1.png, and none is 1.png"},
		{"data", "data/3.png", 0, "has no image for data/3.png"},
		{".", "a/1.png", 7, ""},
	} {
		img, err := f.Find(c.dir, filepath.FromSlash(c.file))
		switch {
		case c.want != "":
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s under %s: %v, want %s", c.file, c.dir, err, c.want)
			}
		case err != nil:
			t.Errorf("%s under %s: %v", c.file, c.dir, err)
		case img.ID != c.id:
			t.Errorf("%s under %s is image %d, want %d", c.file, c.dir, img.ID, c.id)
		}
	}
	out := Image{ID: 1, Name: `..\..\shadow`}
	if _, err := out.Locate("data"); err == nil {
		t.Error("a file_name led out of the folder")
	}
	if got, err := f.Images[0].Locate("data"); err != nil || got != filepath.FromSlash("data/a/1.png") {
		t.Errorf("image 7 is %s, %v", got, err)
	}
}

func TestDamagedFiles(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{`"id": 3, "file_name"`, `"id": 7, "file_name"`, "image 7: another image has this id"},
		{`b/1.png`, `a/1.png`, `image 3: another image has the file_name "a/1.png"`},
		{`"width": 40`, `"width": -40`, "image 7: a picture of -40×30 pixels: sides are 1 to 65536"},
		{`"width": 40, `, ``, "image 7: a picture of 0×30 pixels"},
		{`"uncertain"`, `"ok"`, `image 3: state is "ok": good, bad or uncertain are known`},
		{`"id": 5, "file_name"`, `"file_name"`, "image number 3 of the list: has no id"},
		{`"id": 5, "file_name"`, `"id": "five", "file_name"`, `image number 3 of the list: "five" isn't a whole number`},
		{`"id": 1, "name"`, `"id": 2, "name"`, "category 2: another category has this id"},
		{`"dent"`, `"scratch"`, `category 1: another category is called "scratch"`},
		{`"id": 9, "image_id": 7`, `"id": 1, "image_id": 7`, "annotation 1: another annotation has this id"},
		{`"image_id": 3`, `"image_id": 4`, "annotation 4: of image 4, which the file doesn't have"},
		{`"category_id": 2`, `"category_id": 3`, "annotation 1: of category 3, which the file doesn't have"},
		{`"category_id": 2, `, ``, "annotation 1: needs an id, an image_id and a category_id"},
		{`[1, 2, 3, 4]`, `[1, 2, -3, 4]`, "annotation 1: bbox [1, 2, -3, 4] has no size"},
		{`[1, 2, 3, 4]`, `[1, 2, 300, 4]`, "annotation 1: bbox [1, 2, 300, 4] lies outside of the picture, which is 40×30"},
		{`[1, 2, 3, 4]`, `[-9, 2, 3, 4]`, "annotation 1: bbox [-9, 2, 3, 4] lies outside of the picture"},
		{`[1, 2, 3, 4]`, `[1, 2, 3]`, "annotation 1: bbox has 3 numbers"},
		{`[1, 2, 3, 4]`, `[1, 2, NaN, 4]`, "NaN and Infinity aren't JSON, and no coordinate"},
		{`[1, 2, 3, 4]`, `[1, 2, 1e999, 4]`, "annotation 1: json: cannot unmarshal number 1e999"},
		{`"area": 11.5`, `"area": -1`, "annotation 1: area is -1 square pixels"},
		{`"width": 40`, `"width": 40.5`, "image 7: 40.5 isn't a whole number"},
		{`"width": 40`, `"width": 1e30`, "image 7: 1e30 isn't a whole number"},
		{`"iscrowd": 0`, `"iscrowd": 2`, "annotation 1: 2 is neither 0 nor 1"},
		{`[[0, 0, 10, 0, 10, 10, 0, 10]]`, `[[0, 0, 10, 0]]`, "annotation 9: segmentation: polygon 1 of 1: has 4 numbers: x and y of three points or more are needed"},
		{`[[0, 0, 10, 0, 10, 10, 0, 10]]`, `[[0, 0, 10, 0, 10, 10, 0]]`, "has 7 numbers"},
		{`[[0, 0, 10, 0, 10, 10, 0, 10]]`, `[[0, 0, 10, 0, 10, 34, 0, 10]]`, "the point [10, 34] lies outside of the picture, which is 40×30"},
		{`[[0, 0, 10, 0, 10, 10, 0, 10]]`, `[0, 0, 10, 0, 10, 10]`, "annotation 9: segmentation: polygons are lists of numbers in a list"},
		{`[[0, 0, 10, 0, 10, 10, 0, 10]]`, `[]`, "annotation 9: bbox has 0 numbers"},
		{`[[0, 0, 10, 0, 10, 10, 0, 10]]`, `"x"`, "segmentation is neither a list of polygons nor run lengths"},
		{`[0, 5, 195]`, `[0, 5, 194]`, "annotation 4: segmentation: run lengths cover 199 pixels, the picture of 20×10 has 200"},
		{`[0, 5, 195]`, `[0, -5, 205]`, "annotation 4: segmentation: counts are neither a string nor a list of counts"},
		{`"size": [10, 20], "counts": [`, `"size": [20, 10], "counts": [`, "annotation 4: segmentation: its size is 10×20, the picture's 20×10"},
		{`"size": [10, 20], "counts": [`, `"size": [10], "counts": [`, "annotation 4: segmentation: run lengths need a size of height and width"},
		{`:280Z5`, `:280Z`, "annotation 5: segmentation: counts: character 6: the string ends within a number"},
		{`"categories": [`, `"kinds": [`, "small.json has 3 images and 0 categories: is it an annotation file?"},
		{`]}`, `]`, "small.json: byte "},
	} {
		text := strings.Replace(small, c.old, c.new, 1)
		if c.old == "]}" {
			text = strings.TrimSuffix(small, "}")
		}
		if text == small {
			t.Errorf("%s isn't there to be damaged", c.old)
			continue
		}
		_, err := Parse("small.json", []byte(text))
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "read COCO annotations: small.json") {
			t.Errorf("%s instead of %s: %v, want %s", c.new, c.old, err, c.want)
		}
	}
	if _, err := Read(filepath.Join(t.TempDir(), "none.json")); err == nil {
		t.Error("a file that isn't there was read")
	}
}

func TestResultsThereAndBack(t *testing.T) {
	f := parsed(t)
	img := f.Image(7)
	mask := &vision.Mask{X: 2, Y: 3, W: 2, H: 2, Runs: []uint32{0, 3}}
	out, left, err := f.Results(img, []vision.Detection{
		{Label: "dent", Score: 0.1, Box: vision.Box{X: 0.1, Y: 0.2, W: 3, H: 4}, Mask: mask},
		{Label: "person", Score: 0.9}, {Label: "scratch", Score: 1, Box: vision.Box{W: 1, H: 1}},
	})
	if err != nil || len(out) != 2 || left["person"] != 1 {
		t.Fatalf("%v, left out %v, %v", out, left, err)
	}
	var b bytes.Buffer
	if err := WriteResults(&b, out); err != nil {
		t.Fatal(err)
	}
	const want = `[
{"image_id":7,"category_id":1,"bbox":[0.10000000149011612,0.20000000298023224,3,4],"score":0.10000000149011612,"segmentation":{"size":[30,40],"counts":"o12l0OfQ1"}},
{"image_id":7,"category_id":2,"bbox":[0,0,1,1],"score":1}]
`
	again, err := ParseResults("results.json", b.Bytes(), f)
	if diff := cmp.Diff(out, again); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("the file (-want +got)\n%s", diff)
	}
	b.Reset()
	const masks = `[
{"image_id":7,"category_id":1,"score":0.10000000149011612,"segmentation":{"size":[30,40],"counts":"o12l0OfQ1"}}]
`
	if err := WriteMasks(&b, out[:1]); err != nil || b.String() != masks {
		t.Errorf("the masks are %s, %v, want %s", b.String(), err, masks)
	}
	if err := WriteMasks(&b, out); err == nil || !strings.Contains(err.Error(), "number 2: has no segmentation") {
		t.Errorf("a box among the masks: %v", err)
	}
	if err := WriteResults(&b, []Result{{Score: math.NaN()}}); err == nil || !strings.Contains(err.Error(), "write COCO results: number 1: json: unsupported value: NaN") {
		t.Errorf("a score that is NaN: %v", err)
	}
	b.Reset()
	if err := WriteResults(&b, nil); err != nil || b.String() != "[]\n" {
		t.Errorf("no results are %q, %v", b.String(), err)
	}
	if diff := cmp.Diff(&vision.Mask{X: 2, Y: 3, W: 2, H: 2, Runs: []uint32{0, 3}}, again[0].Segmentation.Mask()); diff != "" {
		t.Errorf("the mask (-want +got)\n%s", diff)
	}
}

func TestDamagedResults(t *testing.T) {
	f := parsed(t)
	for _, c := range []struct{ text, want string }{
		{`[{"image_id": 8, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 1}]`, "number 1: of image 8, which small.json doesn't have"},
		{`[{"image_id": 7, "category_id": 1, "bbox": [0, 0, -1, 1], "score": 1}]`, "number 1: of image 7: bbox is [0, 0, -1, 1]"},
		{`[{"image_id": 7, "category_id": 1, "score": 1}]`, "number 1: bbox has 0 numbers, not 4"},
		{`[{"image_id": 7, "category_id": 1, "bbox": [0, 0, 1, 1], "score": NaN}]`, "NaN and Infinity aren't JSON"},
		{`[{"image_id": 7, "category_id": 1, "score": 1, "segmentation": {"size": [10, 20], "counts": [200]}}]`, "the mask's size is 20×10, the picture's 40×30"},
		{`{}`, "cannot unmarshal object"},
	} {
		if _, err := ParseResults("r.json", []byte(c.text), f); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.text, err, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(small))
	f.Add([]byte(`{"images":[{"id":1,"file_name":"a","width":9,"height":9}],"categories":[{"id":1,"name":"x"}],"annotations":[{"id":1,"image_id":1,"category_id":1,"segmentation":[[0,0,9.9,0,-0.9,9]]}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := Parse("fuzz.json", b)
		if err != nil {
			return
		}
		for i := range file.Annotations {
			a := &file.Annotations[i]
			img := file.Image(a.Image)
			if img == nil || file.Category(a.Category) == nil || !(a.Box[2] > 0) || !(a.Area >= 0) {
				t.Fatalf("annotation %+v was taken", a)
			}
			if !a.HasMask() || img.W*img.H > 1<<20 {
				continue
			}
			r, err := file.Mask(a)
			if err != nil {
				continue // outlines that are too long
			}
			if r.Check() != nil || r.W != img.W || r.H != img.H {
				t.Fatalf("annotation %d: mask %+v", a.ID, r)
			}
		}
	})
}

func FuzzParseResults(f *testing.F) {
	f.Add([]byte(`[{"image_id":7,"category_id":1,"bbox":[0.1,0.2,3,4],"score":0.1,"segmentation":{"size":[30,40],"counts":"o12l0OfQ1"}}]`))
	f.Add([]byte(`[{"image_id":3,"category_id":2,"score":1,"segmentation":{"size":[10,20],"counts":[0,5,195]}}]`))
	truth, err := Parse("small.json", []byte(small))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		results, err := ParseResults("fuzz.json", b, truth)
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := WriteResults(&out, results); err != nil {
			t.Fatal(err)
		}
		again, err := ParseResults("again.json", out.Bytes(), truth)
		if diff := cmp.Diff(results, again); err != nil || diff != "" {
			t.Fatalf("%v (-want +got)\n%s", err, diff)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	root := os.Getenv("SIGHTLINE_REALDATA")
	if root == "" {
		b.Skip("left out: SIGHTLINE_REALDATA isn't set")
	}
	text, err := os.ReadFile(filepath.Join(root, "coco129/annotations.json"))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		f, err := Parse("coco129", text)
		if err != nil {
			b.Fatal(err)
		}
		for i := range f.Annotations {
			if _, err := f.Mask(&f.Annotations[i]); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// TestParseOtherStarts: a byte order mark is no damage, and a file of results is told from annotations.
func TestParseOtherStarts(t *testing.T) {
	if _, err := Parse("bom.json", append([]byte("\ufeff"), small...)); err != nil {
		t.Error(err)
	}
	if _, err := Parse("results.json", []byte("\n [{}]")); err == nil || !strings.Contains(err.Error(), "results.json is a list: those are results") {
		t.Errorf("of a list: %v", err)
	}
}
