package infer

import (
	"cmp"
	"fmt"
	"strings"
)

// Override is what somebody says about an Input; zero fields leave it as it is.
type Override struct {
	Colour        Colour
	Scale         float64
	Mean          []float64 // one number, or one for each plane
	Std           []float64
	Resize        Resize
	Anchor        Anchor
	Pad           *uint8
	Interpolation Interpolation
	CropShare     float64
}

// On lays the override over an input.
func (o Override) On(in Input) Input {
	in.Colour = cmp.Or(o.Colour, in.Colour)
	in.Scale = cmp.Or(o.Scale, in.Scale)
	in.Resize = cmp.Or(o.Resize, in.Resize)
	in.Anchor = cmp.Or(o.Anchor, in.Anchor)
	in.Interpolation = cmp.Or(o.Interpolation, in.Interpolation)
	in.CropShare = cmp.Or(o.CropShare, in.CropShare)
	spread(&in.Mean, o.Mean)
	spread(&in.Std, o.Std)
	if o.Pad != nil {
		in.Pad = *o.Pad
	}
	return in
}

// spread sets three planes from one number or three.
func spread(to *[3]float64, from []float64) {
	for i := range to {
		if len(from) > 0 {
			to[i] = from[min(i, len(from)-1)]
		}
	}
}

// whole tells whether nothing is left open that changes what a model sees.
func (o Override) whole() bool {
	return o.Colour != "" && o.Scale != 0 && o.Mean != nil && o.Std != nil && o.Resize != ""
}

// Preset is the way in which a tool feeds its models, of families whose tools
// do it differently.
type Preset struct {
	Name   string
	Family Family
	Of     string // whose it is
	Input  Override
}

// What models of ImageNet have in common.
var (
	imagenetMean = []float64{0.485, 0.456, 0.406}
	imagenetStd  = []float64{0.229, 0.224, 0.225}
	zero, one3   = []float64{0, 0, 0}, []float64{1, 1, 1}
)

// Presets lists them all. A family that has any can't be run without one, or
// without its input said in full: no file tells which it is.
func Presets() []Preset {
	fed := func(mean, std []float64, r Resize, i Interpolation, crop float64) Override {
		return Override{Colour: RGB, Scale: 1.0 / 255, Mean: mean, Std: std, Resize: r, Interpolation: i, CropShare: crop}
	}
	levels := func(mean, std []float64, i Interpolation) Override {
		return Override{Colour: RGB, Scale: 1, Mean: mean, Std: std, Resize: Stretch, Interpolation: i}
	}
	return []Preset{
		{"torchvision", "classification", "most of torchvision's weights (weights.transforms() tells: crop is crop_size ÷ resize_size, 224 ÷ 256 here, 0.9655 for most V2; EfficientNet, Swin, MaxViT and ViT's SWAG are bicubic)", fed(imagenetMean, imagenetStd, Crop, Bilinear, 0.875)},
		{"timm", "classification", "timm's usual models (pretrained_cfg tells where crop_pct, mean or std differ)", fed(imagenetMean, imagenetStd, Crop, Bicubic, 0.875)},
		{"ultralytics", "classification", "Ultralytics' classifiers", fed(zero, one3, Crop, Bilinear, 1)},
		{"yolov5", "classification", "YOLOv5's classifiers", fed(imagenetMean, imagenetStd, Crop, Linear, 1)},
		{"plain", "classification", "models that were trained on levels ÷ 255 of stretched pictures", fed(zero, one3, Stretch, Linear, 0)},

		{"torchvision", "segmentation", "torchvision", fed(imagenetMean, imagenetStd, Stretch, Bilinear, 0)},
		{"imagenet", "segmentation", "segmentation_models_pytorch, whose pictures OpenCV resizes", fed(imagenetMean, imagenetStd, Stretch, Linear, 0)},
		{"plain", "segmentation", "models that were trained on levels ÷ 255", fed(zero, one3, Stretch, Linear, 0)},

		{"rt-detr", "detr", "RT-DETR, D-FINE and DEIM", fed(zero, one3, Stretch, Bilinear, 0)},
		{"deformable-detr", "detr", "Deformable and Conditional DETR; Facebook's DETR and YOLOS, which score by softmax, can't be read", fed(imagenetMean, imagenetStd, Stretch, Bilinear, 0)},

		{"torchvision", "detections", "torchvision, whose models normalise themselves", fed(zero, one3, Stretch, Linear, 0)},
		{"tensorflow", "detections", "TensorFlow's detectors with a picture of uint8", levels(zero, one3, Linear)},

		{"mobilenet-ssd", "ssd", "pytorch-ssd's MobileNet (NVIDIA's jetson-inference)", levels([]float64{127, 127, 127}, []float64{128, 128, 128}, Linear)},
		{"vgg-ssd", "ssd", "pytorch-ssd's VGG", levels([]float64{123, 117, 104}, one3, Linear)},
	}
}

// presetsOf are those of one family.
func presetsOf(f Family) []Preset {
	var out []Preset
	for _, p := range Presets() {
		if p.Family == f {
			out = append(out, p)
		}
	}
	return out
}

// preset finds the one that was asked for, or that the file shows; ok is false
// where nobody tells.
func (i Info) preset(f Family, name string) (p Preset, ok bool, err error) {
	var names []string
	for _, p := range presetsOf(f) {
		if p.Name == name || name == "" && p.Name == i.Preset && f == i.Family {
			return p, true, nil
		}
		names = append(names, p.Name)
	}
	if name != "" && len(names) == 0 {
		return p, false, fmt.Errorf("preset %q: family %s has none, its models are all fed alike", name, f)
	}
	if name != "" {
		return p, false, fmt.Errorf("preset %q: family %s has none of that name, known are %s", name, f, strings.Join(names, ", "))
	}
	return p, false, nil
}

// unfed asks how pictures are fed to a model whose file doesn't tell.
func (i Info) unfed(f Family, in Input) error {
	var b strings.Builder
	fmt.Fprintf(&b, "the model is of family %s, but how its pictures are scaled and cut no file tells, and a wrong guess gives wrong scores. "+
		"Whoever trained it knows: pass --preset NAME, or write the line under model: in manifest.yaml (sightline bundle init does)", f)
	for _, p := range presetsOf(f) {
		fed := p.Input.On(in)
		if in.Colour == Gray {
			fed.Colour = Gray
		}
		fmt.Fprintf(&b, "\n  %s: %s\n    input: {%s}", p.Name, p.Of, fed.Line())
	}
	return fmt.Errorf("%s", b.String())
}

// Line is the input as it stands in a bundle's manifest, between the braces.
func (in Input) Line() string {
	text := fmt.Sprintf("colour: %s, scale: %v, mean: %s, std: %s, resize: %s, interpolation: %s", in.Colour, in.Scale,
		in.channels(in.Mean), in.channels(in.deviations()), in.Resize, cmp.Or(in.Interpolation, Linear))
	switch in.Resize {
	case Letterbox:
		text += fmt.Sprintf(", anchor: %s, pad: %d", in.Anchor, in.Pad)
	case Crop:
		text += fmt.Sprintf(", crop: %v", cmp.Or(in.CropShare, 1))
	}
	return text
}

// deviations has 1 for those that are 0, which mean it.
func (in Input) deviations() [3]float64 {
	d := in.Std
	for c := range d {
		d[c] = cmp.Or(d[c], 1)
	}
	return d
}

func (in Input) channels(v [3]float64) string {
	if in.Planes() == 1 {
		return fmt.Sprintf("[%v]", v[0])
	}
	return fmt.Sprintf("[%v, %v, %v]", v[0], v[1], v[2])
}
