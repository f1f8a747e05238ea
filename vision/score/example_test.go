package score_test

import (
	"fmt"

	"github.com/sightline-edge/sightline/vision/coco"
	"github.com/sightline-edge/sightline/vision/score"
)

// A threshold for a station that may reject one good part in twenty.
func ExampleCurve_LeastEscapes() {
	var scores []float64
	var bad []bool
	for i := range 412 { // good parts score low, bad ones high
		scores, bad = append(scores, float64(i%40)/100), append(bad, false)
	}
	for i := range 88 {
		scores, bad = append(scores, 0.38+float64(i)/200), append(bad, true)
	}
	curve, err := score.NewCurve(scores, bad)
	if err != nil {
		fmt.Println(err)
		return
	}
	choice, err := curve.LeastEscapes(0.05)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("threshold %.4f\nescapes %v\nfalse rejects %v\nfound %s\n", choice.Threshold, choice.Escapes, choice.FalseRejects, choice.Found().Least())
	// Output:
	// threshold 0.3750
	// escapes 0 of 88, ≤ 3.3 % at 95 %
	// false rejects 20 of 412, ≤ 7.0 % at 95 %
	// found 88 of 88, ≥ 96.7 % at 95 %
}

// Average precision of an annotation file and a list of results.
func ExampleDetections() {
	truth, err := coco.Parse("line.json", []byte(`{
		"images": [{"id": 1, "file_name": "1.png", "width": 640, "height": 480}],
		"categories": [{"id": 1, "name": "scratch"}],
		"annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 100, 40]}]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	s, err := score.Detections(truth, []coco.Result{{Image: 1, Category: 1, Box: [4]float64{12, 10, 100, 40}, Score: 0.8}}, score.DetectionConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("AP %.2f, AP50 %.2f of %d annotation\n", s.AP, s.AP50, s.Truths)
	// Output: AP 1.00, AP50 1.00 of 1 annotation
}
