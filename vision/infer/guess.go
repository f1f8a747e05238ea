package infer

import (
	"fmt"
	"slices"
	"strings"
)

// A reading is a way to read a model, and what of a file shows that it is meant so.
type reading struct {
	family Family // "" if the model is known and can't be read
	preset string // how its tool feeds it, where that is known and isn't the family's own way
	why    string // the evidence; of one that can't be read, why and what to do
	shows  func(i *Info) bool
}

// readings lists them, the most certain first. None but the first that a file
// shows counts, and each must be certain: what fits two ways isn't listed.
func readings() []reading {
	return []reading{
		{"anomaly", "", "outputs named as Anomalib names them", func(i *Info) bool { return i.has("pred_score") || i.has("anomaly_map") }},
		{"", "", "it is RF-DETR's segmentation (outputs dets, labels and masks), whose masks can't be read: export a detection model",
			func(i *Info) bool { return i.has("dets", "labels", "masks") }},
		{"rfdetr", "", "outputs named dets and labels, as RF-DETR names them", func(i *Info) bool { return len(i.Outputs) == 2 && i.has("dets", "labels") && i.width("dets") == 4 }},
		{"detr", "rt-detr", "an input named orig_target_sizes and outputs named labels, boxes, scores, as D-FINE and RT-DETR are deployed",
			func(i *Info) bool { return i.asksSizes() && i.has("labels", "boxes", "scores") }},
		{"detections", "tensorflow", "outputs named detection_boxes, detection_scores, detection_classes, as TensorFlow's detectors have them, and a picture of uint8",
			func(i *Info) bool {
				return i.has("detection_boxes", "detection_scores", "detection_classes") && i.Inputs[i.picture()].Type == "uint8"
			}},
		{"detections", "", "outputs named detection_boxes, detection_scores, detection_classes, as TensorFlow's detectors have them",
			func(i *Info) bool { return i.has("detection_boxes", "detection_scores", "detection_classes") }},
		{"", "", "it tells keypoints or masks beside its boxes (torchvision's Keypoint or Mask R-CNN), which can't be read: export a detection model",
			func(i *Info) bool {
				return i.has("boxes", "labels", "scores") && (i.has("masks") || i.has("keypoints"))
			}},
		{"detections", "torchvision", "outputs named boxes, labels, scores, as torchvision's detectors give them",
			func(i *Info) bool {
				return len(i.Inputs) == 1 && len(i.Outputs) == 3 && i.has("boxes", "labels", "scores")
			}},
		{"detr", "", "outputs named logits and pred_boxes, as Hugging Face's DETR models have them", func(i *Info) bool { return i.has("logits", "pred_boxes") }},
		{"ssd300", "", "outputs named cls_logits and bbox_regression of 8732 places, as the head of torchvision's SSD300 has them",
			func(i *Info) bool {
				return len(i.Outputs) == 2 && i.has("cls_logits", "bbox_regression") && i.Outputs[0].Shape != nil && slices.Contains(i.Outputs[0].Shape, 8732)
			}},
		{"retinanet", "", "outputs named cls_logits and bbox_regression, as the head of torchvision's RetinaNet has them",
			func(i *Info) bool { return len(i.Outputs) == 2 && i.has("cls_logits", "bbox_regression") }},
		{"ssd", "mobilenet-ssd", "scores and boxes of 3000 priors, as pytorch-ssd's MobileNet has them at 300×300", func(i *Info) bool { return i.priors(3000) }},
		{"ssd", "vgg-ssd", "scores and boxes of 8732 priors, as pytorch-ssd's VGG has them at 300×300", func(i *Info) bool { return i.priors(8732) }},
		{"ssd", "", "outputs named scores and boxes, a row for each prior, as pytorch-ssd has them", func(i *Info) bool { return i.priors(-1) }},
		{"segmentation", "", "outputs named out and aux, as torchvision's segmentation models have them",
			func(i *Info) bool { return len(i.Outputs) == 2 && i.has("out", "aux") && i.dense(true) }},
		{"segmentation", "", "an output named out with a plane for each class, as torchvision's segmentation models have it",
			func(i *Info) bool { return len(i.Outputs) == 1 && i.has("out") && i.dense(false) }},
		{FastestDet, "", "the shape of its output, a grid of H/16×W/16 that is put together of parts", func(i *Info) bool {
			return i.grid(func(s []int64) bool {
				return len(s) == 4 && s[1] > 5 && s[2] == int64(i.Height/16) && s[3] == int64(i.Width/16) && i.ends[0] == "Concat"
			})
		}},
		{"", "", "its output has a row for each place of the grids of strides 8, 16 and 32, but not as YOLOX's raw export has them (YOLOv6 and YOLOX with --decode_in_inference are such): " +
			"export YOLOX without --decode_in_inference; YOLOv6 can't be read. If it is YOLOX all the same, pass --family yolox", func(i *Info) bool { return i.gridRows(1) && i.decoded() }},
		{"", "", "its output has a row for each place of the grids of strides 8, 16 and 32, but doesn't begin with a convolution's boxes as YOLOX's raw export does " +
			"(a transposed YOLOv8 and NanoDet are such): export YOLOv8 as Ultralytics does; NanoDet can't be read. If it is YOLOX all the same, pass --family yolox",
			func(i *Info) bool {
				return i.gridRows(1) && i.ends[0] == "Transpose" && i.head[0] != "" && !isLogits(i.head[0])
			}},
		{YOLOX, "", "the shape of its output, a row for each place of the grids of strides 8, 16 and 32, not decoded yet", func(i *Info) bool { return i.gridRows(1) && i.ends[0] == "Transpose" }},
		{"", "", "its output has three rows for each place of the grids, and one class, which YOLOv5 and YOLOv7 score differently: pass --family yolov5 or --family yolov7",
			func(i *Info) bool { return i.gridRows(3) && i.Outputs[0].Shape[2] == 6 }},
		{"yolov5", "", "the shape of its output, three rows for each place of the grids of strides 8, 16 and 32, as YOLOv5 and YOLOv7 have them", func(i *Info) bool { return !i.nhwc() && i.gridRows(3) }},
		{YOLOv8, "", "the shape of its output, a column for each place of the grids of strides 8, 16 and 32, as Ultralytics 8 to 26 have them", func(i *Info) bool {
			return !i.nhwc() && i.grid(func(s []int64) bool { return len(s) == 3 && s[2] == i.cells() && s[1] > 4 })
		}},
		{"classification", "", "its one output, a score for each class", func(i *Info) bool { return i.scores() }},
	}
}

// guess sets Family, Why and Preset where metadata, names or shapes leave no doubt.
func (i *Info) guess(meta map[string]string) {
	if i.Labels != nil {
		i.guessTask(meta)
		return
	}
	for _, r := range readings() {
		if r.shows(i) {
			i.Family, i.Preset, i.Why = r.family, r.preset, r.why
			return
		}
	}
}

// guessTask goes by Ultralytics' metadata.
func (i *Info) guessTask(meta map[string]string) {
	says := "Ultralytics' metadata: task " + i.Task
	isDETR := strings.Contains(strings.ToLower(meta["description"]+" "+meta["head"]), "rtdetr") || strings.Contains(strings.ToLower(meta["description"]), "rt-detr")
	switch {
	case i.Task == "":
		i.guessYOLOv5()
	case i.Task == "detect" && isDETR:
		i.Family, i.Why = "rtdetr", says+", RT-DETR"
	case i.taskFamily() == "":
		i.Why = fmt.Sprintf("Ultralytics' metadata say that its task is %q, which can't be run: tasks that can are detect, segment, obb and classify", i.Task)
	default:
		i.Family, i.Why = i.taskFamily(), says
		if i.Task == "classify" {
			i.Preset = "ultralytics"
		}
	}
}

// taskFamily is the family of Ultralytics' task; "" for one that can't be read.
func (i Info) taskFamily() Family {
	return map[string]Family{"detect": YOLOv8, "segment": "yolov8-seg", "obb": "yolov8-obb", "classify": "classification"}[i.Task]
}

// guessYOLOv5 goes by YOLOv5's own metadata, which tell stride and names alone.
func (i *Info) guessYOLOv5() {
	const says = "YOLOv5's metadata (stride and names)"
	out := i.Outputs[0].Shape
	switch {
	case len(i.Outputs) == 1 && len(out) == 3:
		i.Family, i.Why = "yolov5", says
	case len(i.Outputs) == 1 && len(out) == 2:
		i.Family, i.Preset, i.Why = "classification", "yolov5", says+" and one output of a score for each class"
	default:
		i.Why = says + " stand beside outputs that aren't those of its detectors: its segmentation models can't be read; train with Ultralytics 8 or later, whose can"
	}
}

// contradicts says what of the file speaks against reading it as this family,
// whoever said that it is of it.
func (i Info) contradicts(f Family) error {
	switch {
	case i.Task != "" && i.Labels != nil && i.Family == "":
		return i.unknownFamily()
	case i.Task != "" && i.Labels != nil && f != i.Family:
		return fmt.Errorf("the model's metadata say that its task is %q, which is family %s, not %s", i.Task, i.Family, f)
	case f == YOLOX && len(i.ends) == 1 && i.gridRows(1) && i.decoded() && i.exp:
		return fmt.Errorf("the boxes of this YOLOX are decoded by the graph already: export it without --decode_in_inference")
	}
	return nil
}

// unsettled asks for what tells a detector's raw output from that of turned boxes or
// key points, which without metadata has the same shape with other numbers of classes.
func (i Info) unsettled(o Options) error {
	if i.Labels != nil || o.Labels != nil || o.Family != "" || i.Family != YOLOv8 && i.Family != YOLOv5 {
		return nil
	}
	return fmt.Errorf("the model's output has the shape of family %s (%v), and that of turned boxes or key points with fewer classes: "+
		"pass the classes' names, whose number tells (--labels FILE, or --labels coco), or --family %s", i.Family, i.Outputs[0], i.Family)
}

// unknownFamily asks for the family, or says why there is none.
func (i Info) unknownFamily() error {
	if i.Why != "" {
		return fmt.Errorf("the model can't be run: %s", i.Why)
	}
	return fmt.Errorf("the model doesn't tell its family (input %v, outputs %v): pass one of %s (--family F)", i.Inputs, i.Outputs, familyNames())
}

// has tells whether there are outputs of all these names.
func (i *Info) has(names ...string) bool {
	for _, name := range names {
		if !slices.ContainsFunc(i.Outputs, func(t Tensor) bool { return t.Name == name }) {
			return false
		}
	}
	return true
}

// width is the last size of an output, -1 where it is open.
func (i *Info) width(name string) int64 {
	for _, t := range i.Outputs {
		if n := len(t.Shape); t.Name == name && n > 0 {
			return t.Shape[n-1]
		}
	}
	return -1
}

// dense tells whether the first output has a value for each pixel of the input;
// sizes that the model leaves open count for equal if open is true.
func (i *Info) dense(open bool) bool {
	s := i.Outputs[0].Shape
	h, w, _ := i.planes()
	same := func(d int64, side int) bool {
		return side > 0 && d == int64(side) || open && (d < 0 || side == 0)
	}
	return len(s) == 4 && same(s[2], h) && same(s[3], w)
}

func (i *Info) asksSizes() bool {
	return slices.ContainsFunc(i.Inputs, func(t Tensor) bool { return t.Name == sizesInput })
}

// priors tells whether the outputs are scores and boxes of so many places; -1 takes any number.
func (i *Info) priors(n int64) bool {
	if len(i.Outputs) != 2 || !i.has("scores", "boxes") {
		return false
	}
	for _, t := range i.single() {
		if t.Name == "boxes" && !fits(t.Shape, 1, n, 4) || t.Name == "scores" && !fits(t.Shape, 1, n, -1) || n > 0 && t.Shape[1] != n {
			return false
		}
	}
	return true
}

func (i *Info) cells() int64 { return int64(gridCells(i.Width, i.Height)) }

// grid tells whether there is one output, for an input of a known size, whose shape does.
func (i *Info) grid(does func(shape []int64) bool) bool {
	return len(i.Outputs) == 1 && i.Width > 0 && i.Height > 0 && does(i.Outputs[0].Shape)
}

// gridRows tells whether there is one output of so many rows for each place of
// the grids of strides 8, 16 and 32.
func (i *Info) gridRows(each int64) bool {
	return i.grid(func(s []int64) bool { return len(s) == 3 && s[1] == each*i.cells() && s[2] > 5 })
}

// decoded tells whether the rows of a grid were computed with, after the grids
// were put together: YOLOX's raw export only transposes them then.
func (i *Info) decoded() bool { return i.ends[0] != "" && i.ends[0] != "Transpose" }

// scores tells whether there is one output of a score for each class.
func (i *Info) scores() bool {
	if len(i.Outputs) != 1 {
		return false
	}
	s := i.single()[0].Shape
	return len(s) == 2 && s[0] <= 1 && s[1] > 1 && (isLogits(i.Last[0]) || i.Last[0] == "Softmax")
}
