package e2e

import (
	"cmp"
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"
)

// truth is an annotation of COCO's file.
type truth struct {
	Image    int        `json:"image_id"`
	Category int        `json:"category_id"`
	Box      [4]float64 `json:"bbox"` // x, y, w, h
	Crowd    int        `json:"iscrowd"`
}

// guess is a detection in COCO's results format.
type guess struct {
	Image    int        `json:"image_id"`
	Category int        `json:"category_id"`
	Box      [4]float64 `json:"bbox"`
	Score    float64    `json:"score"`
}

// annotations is COCO's annotation file.
type annotations struct {
	Images      []struct{ ID int }
	Annotations []truth
	Categories  []struct{ ID int }
}

// maxGuesses is how many detections of a picture and category count.
const maxGuesses = 100

// averagePrecision is COCO's AP and AP50 over all sizes (cocodataset.org,
// detection evaluation): the mean over ten IoU thresholds, categories that are
// there, and the precision at 101 points of recall; crowds are ignored.
func averagePrecision(a *annotations, guesses []guess) (ap, ap50 float64) {
	type key struct{ image, category int }
	truths, found := map[key][]truth{}, map[key][]guess{}
	for _, t := range a.Annotations {
		k := key{t.Image, t.Category}
		truths[k] = append(truths[k], t)
	}
	for _, g := range guesses {
		k := key{g.Image, g.Category}
		found[k] = append(found[k], g)
	}
	var sum [10]float64
	categories := 0
	for _, c := range a.Categories {
		var marks [10][]mark
		positives := 0
		for _, i := range a.Images {
			k := key{i.ID, c.ID}
			for _, t := range truths[k] {
				positives += 1 - t.Crowd
			}
			match(truths[k], found[k], &marks)
		}
		if positives == 0 {
			continue
		}
		categories++
		for n := range marks {
			sum[n] += recallMean(marks[n], positives)
		}
	}
	for _, s := range sum {
		ap += s / float64(categories) / 10
	}
	return ap, sum[0] / float64(categories)
}

// mark says whether a guess was right.
type mark struct {
	score float64
	right bool
}

// match gives each guess on one picture the best free truth, at each IoU from
// 0.50 to 0.95. A guess on a crowd counts neither way.
func match(truths []truth, guesses []guess, marks *[10][]mark) {
	slices.SortStableFunc(guesses, func(a, b guess) int { return cmp.Compare(b.Score, a.Score) })
	guesses = guesses[:min(len(guesses), maxGuesses)]
	truths = slices.Clone(truths)
	slices.SortStableFunc(truths, func(a, b truth) int { return a.Crowd - b.Crowd })
	for n := range marks {
		taken := make([]bool, len(truths))
		for _, g := range guesses {
			best, at := min(0.5+0.05*float64(n), 1-1e-10), -1
			for i, t := range truths {
				if taken[i] && t.Crowd == 0 || at >= 0 && truths[at].Crowd == 0 && t.Crowd == 1 {
					continue
				}
				if u := iou(g.Box, t.Box, t.Crowd == 1); u >= best {
					best, at = u, i
				}
			}
			if at >= 0 {
				taken[at] = true
			}
			if at < 0 || truths[at].Crowd == 0 {
				marks[n] = append(marks[n], mark{g.Score, at >= 0})
			}
		}
	}
}

// iou is intersection over union; of a crowd, over the guess.
func iou(g, t [4]float64, crowd bool) float64 {
	w := min(g[0]+g[2], t[0]+t[2]) - max(g[0], t[0])
	h := min(g[1]+g[3], t[1]+t[3]) - max(g[1], t[1])
	if w <= 0 || h <= 0 {
		return 0
	}
	union := g[2]*g[3] + t[2]*t[3] - w*h
	if crowd {
		union = g[2] * g[3]
	}
	return w * h / union
}

// recallMean is the mean of the best precision at or beyond each of 101
// recalls.
func recallMean(marks []mark, positives int) float64 {
	slices.SortStableFunc(marks, func(a, b mark) int { return cmp.Compare(b.score, a.score) })
	precision, recall := make([]float64, len(marks)), make([]float64, len(marks))
	right := 0
	for i, m := range marks {
		if m.right {
			right++
		}
		precision[i], recall[i] = float64(right)/float64(i+1), float64(right)/float64(positives)
	}
	for i := len(precision) - 2; i >= 0; i-- {
		precision[i] = max(precision[i], precision[i+1])
	}
	sum := 0.0
	for r := range 101 {
		if i, _ := slices.BinarySearch(recall, float64(r)/100); i < len(recall) {
			sum += precision[i]
		}
	}
	return sum / 101
}

func TestAveragePrecision(t *testing.T) {
	a := &annotations{Images: []struct{ ID int }{{1}, {2}}, Categories: []struct{ ID int }{{1}, {2}, {3}},
		Annotations: []truth{{1, 1, [4]float64{0, 0, 10, 10}, 0}, {2, 1, [4]float64{0, 0, 10, 10}, 0}, {2, 2, [4]float64{0, 0, 50, 50}, 1}}}
	whole, half := [4]float64{0, 0, 10, 10}, [4]float64{0, 0, 10, 6.2}
	for name, c := range map[string]struct {
		guesses  []guess
		ap, ap50 float64
	}{
		"none":            {nil, 0, 0},
		"all":             {[]guess{{1, 1, whole, 0.9}, {2, 1, whole, 0.8}}, 1, 1},
		"one of two":      {[]guess{{1, 1, whole, 0.9}}, 51.0 / 101, 51.0 / 101},
		"twice":           {[]guess{{1, 1, whole, 0.9}, {1, 1, whole, 0.8}, {2, 1, whole, 0.7}}, (51 + 50*2.0/3) / 101, (51 + 50*2.0/3) / 101},
		"loose":           {[]guess{{1, 1, half, 0.9}, {2, 1, half, 0.9}}, 0.3, 1},
		"wrong category":  {[]guess{{1, 3, whole, 0.9}, {2, 3, whole, 0.9}}, 0, 0},
		"on a crowd only": {[]guess{{2, 2, whole, 0.9}, {1, 1, whole, 0.5}, {2, 1, whole, 0.5}}, 1, 1},
	} {
		ap, ap50 := averagePrecision(a, c.guesses)
		if math.Abs(ap-c.ap) > 1e-9 || math.Abs(ap50-c.ap50) > 1e-9 {
			t.Errorf("%s: AP %v, AP50 %v; want %v, %v", name, ap, ap50, c.ap, c.ap50)
		}
	}
}

// TestReferenceAP: predict's detections of two COCO detectors are worth what
// the reference tools' are.
func TestReferenceAP(t *testing.T) {
	t.Parallel()
	agent := agentProgram(t)
	var a annotations
	readJSON(t, realData(t, "coco129/annotations.json"), &a)
	for _, c := range []struct {
		model    string
		ap, ap50 float64
	}{
		{"yolox_nano", 0.3045, 0.463},
		{"FastestDet", 0.179, 0.318},
	} {
		out := t.TempDir() + "/results.json"
		start(t, agent, "predict", "--model", realData(t, "models/"+c.model+".onnx"), "--images", realData(t, "coco129/images"),
			"--coco", realData(t, "coco129/annotations.json"), "--format", "coco", "--conf", "0.001", "--out", out).ends(patience)
		var guesses []guess
		readJSON(t, out, &guesses)
		ap, ap50 := averagePrecision(&a, guesses)
		t.Logf("%s: AP %.4f, AP50 %.4f", c.model, ap, ap50)
		if math.Abs(ap-c.ap) > 0.002 || math.Abs(ap50-c.ap50) > 0.005 {
			t.Errorf("%s: AP %.4f, AP50 %.4f; the reference has %.4f, %.4f", c.model, ap, ap50, c.ap, c.ap50)
		}
	}
}

func readJSON(t *testing.T, path string, into any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}
