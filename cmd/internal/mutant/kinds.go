package mutant

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/sightline-edge/sightline/updater/bundle"
)

// Kind names what a mutation changes.
type Kind string

// The kinds of mutation. Those of weights touch one layer, the next for the
// next seed, unless it says otherwise.
const (
	Noise         Kind = "noise"         // normal noise of 0.05 to 2 times the layer's own spread
	Zero          Kind = "zero"          // one output channel gives nothing
	Flip          Kind = "flip"          // one to eight bits of weights, any bit
	Scale         Kind = "scale"         // the layer times 0.5 to 0.95, or 1.05 to 2
	Quantise      Kind = "quantise"      // every layer rounded to 2 to 6 bits
	Clip          Kind = "clip"          // every layer in int8 with one scale, its range cut to 10 to 60 % of what it needs
	Replace       Kind = "replace"       // another model under the name: every layer's values shuffled
	Labels        Kind = "labels"        // two classes change their names
	Colour        Kind = "colour"        // red and blue swapped before the model
	InputScale    Kind = "inputscale"    // pixels are multiplied by another number
	Mean          Kind = "mean"          // a mean is subtracted that the model wasn't trained with
	Resize        Kind = "resize"        // stretched instead of letterboxed, or the other way about
	Pad           Kind = "pad"           // another grey around a letterboxed picture
	Std           Kind = "std"           // a divisor that the model wasn't trained with
	Interpolation Kind = "interpolation" // pictures are resized otherwise
	Anchor        Kind = "anchor"        // a letterboxed picture lies elsewhere
	Confidence    Kind = "confidence"    // another confidence in the manifest
	NMS           Kind = "nms"           // another overlap for suppression
	When          Kind = "when"          // another limit in the rule's condition
	Pixel         Kind = "pixel"         // another score from which a pixel belongs to a region
	MinArea       Kind = "minarea"       // small regions don't count
	MaxDetections Kind = "maxdetections" // only the best few are told
)

// Kinds gives every kind, those of weights first.
func Kinds() []Kind {
	return append(WeightKinds(), Labels, Colour, InputScale, Mean, Std, Resize, Interpolation, Anchor, Pad, Confidence, NMS, MaxDetections, Pixel, MinArea, When)
}

// WeightKinds gives those that leave the manifest as it is.
func WeightKinds() []Kind { return []Kind{Noise, Zero, Flip, Scale, Quantise, Clip, Replace} }

// Forms is how many different mutations of the kind there are, 0 for one for
// each seed.
func (k Kind) Forms() uint64 {
	switch k {
	case Colour, Resize, Anchor:
		return 1
	case Interpolation:
		return uint64(len(interpolations))
	}
	return 0
}

// ErrNothing is returned where a bundle has nothing of that kind to change.
var ErrNothing = errors.New("the bundle has nothing of that kind")

// mutation is a bundle while it is being changed.
type mutation struct {
	rnd      *rand.Rand
	seed     uint64
	manifest *bundle.Manifest
	model    []byte
	what     string
}

func (m *mutation) say(format string, args ...any) { m.what = fmt.Sprintf(format, args...) }

func (m *mutation) apply(k Kind) error {
	switch k {
	case Noise, Zero, Flip, Scale, Quantise, Clip, Replace:
		return m.weights(k)
	case Labels:
		return m.labels()
	case Confidence, NMS, When:
		return m.thresholds(k)
	case Pixel, MinArea, MaxDetections:
		return m.counts(k)
	case Std, Interpolation, Anchor:
		return m.feeding(k)
	}
	return m.input(k)
}

// weights changes the model's weights.
func (m *mutation) weights(k Kind) error {
	model, err := ParseModel(m.model)
	if err != nil {
		return err
	}
	all, err := model.Weights()
	if err != nil {
		return err
	}
	layers := slices.DeleteFunc(all, func(w Weight) bool { return len(w.Dims) < 2 || !strings.HasSuffix(w.Name, ".w") && len(w.Dims) != 4 })
	if len(layers) == 0 {
		return fmt.Errorf("change the weights: the model has none of float32 with two dimensions or more")
	}
	if k != Quantise && k != Clip && k != Replace { // each layer in turn
		layers = layers[m.seed%uint64(len(layers)):][:1]
	}
	keep := 0.1 + 0.5*m.rnd.Float64()
	bits := 2 + m.rnd.IntN(5)
	for _, w := range layers {
		switch k {
		case Noise:
			m.noise(w)
		case Zero:
			m.zero(w)
		case Flip:
			m.flip(w)
		case Scale:
			m.scale(w)
		case Quantise:
			quantise(w.Values, bits)
			m.say("%d layers rounded to %d bits", len(layers), bits)
		case Clip:
			clip(w.Values, keep)
			m.say("%d layers in int8, cut to %.2f of their range", len(layers), keep)
		case Replace:
			m.rnd.Shuffle(len(w.Values), func(i, j int) { w.Values[i], w.Values[j] = w.Values[j], w.Values[i] })
			m.say("%d layers shuffled", len(layers))
		}
		if err := model.SetWeight(w); err != nil {
			return err
		}
	}
	m.model = model.Bytes()
	return nil
}

func (m *mutation) noise(w Weight) {
	sigma := 0.05 * math.Pow(40, m.rnd.Float64())
	spread := deviation(w.Values) * sigma
	for i := range w.Values {
		w.Values[i] += float32(m.rnd.NormFloat64() * spread)
	}
	m.say("%s: noise of %.2f times its spread", w.Name, sigma)
}

func (m *mutation) zero(w Weight) {
	channels := max(int(w.Dims[0]), 1)
	c, size := m.rnd.IntN(channels), len(w.Values)/channels
	clear(w.Values[c*size:][:size])
	m.say("%s: channel %d of %d gives nothing", w.Name, c, channels)
}

func (m *mutation) flip(w Weight) {
	n := 1 + m.rnd.IntN(8)
	for range n {
		i, bit := m.rnd.IntN(len(w.Values)), m.rnd.IntN(32)
		w.Values[i] = math.Float32frombits(math.Float32bits(w.Values[i]) ^ 1<<bit)
	}
	m.say("%s: %d bits flipped", w.Name, n)
}

func (m *mutation) scale(w Weight) {
	by := 0.5 + 0.45*m.rnd.Float64()
	if m.rnd.IntN(2) == 1 {
		by = 1.05 + 0.95*m.rnd.Float64()
	}
	for i := range w.Values {
		w.Values[i] *= float32(by)
	}
	m.say("%s: times %.3f", w.Name, by)
}

// quantise rounds values to steps of the largest, as a coarse export does.
func quantise(values []float32, bits int) {
	most := float64(0)
	for _, v := range values {
		most = max(most, math.Abs(float64(v)))
	}
	step := most / float64(int(1)<<(bits-1)-1)
	if step == 0 {
		return
	}
	for i, v := range values {
		values[i] = float32(math.Round(float64(v)/step) * step)
	}
}

func deviation(values []float32) float64 {
	var sum, squares float64
	for _, v := range values {
		sum += float64(v)
		squares += float64(v) * float64(v)
	}
	n := float64(len(values))
	return math.Sqrt(max(squares/n-sum/n*sum/n, 0))
}

// labels swaps the names of two classes; their roles go with the names.
func (m *mutation) labels() error {
	l := m.manifest.Model.Labels
	if len(l) < 2 {
		return fmt.Errorf("swap two labels: the manifest has %d: %w", len(l), ErrNothing)
	}
	i := m.rnd.IntN(len(l))
	j := (i + 1 + m.rnd.IntN(len(l)-1)) % len(l)
	m.say("%s and %s swapped", l[i].Name, l[j].Name)
	l[i], l[j] = l[j], l[i]
	return nil
}

// input changes the pre-processing.
func (m *mutation) input(k Kind) error {
	in := &m.manifest.Model.Input
	switch k {
	case Colour:
		was := in.Colour
		if in.Colour = "bgr"; was == "bgr" {
			in.Colour = "rgb"
		}
		m.say("%s instead of %s", in.Colour, was)
	case InputScale:
		was := in.Scale
		if was == 0 {
			was = 1
		}
		by := []float64{1 / 1.5, 0.9, 1.1, 2, 255}[m.rnd.IntN(5)]
		in.Scale = was * by
		m.say("pixels times %.3f more", by)
	case Mean:
		shift := 0.02 + 0.5*m.rnd.Float64()
		in.Mean = []float64{shift, shift, shift}
		m.say("mean %.2f", shift)
	case Resize:
		was := in.Resize
		if in.Resize = "stretch"; was == "stretch" {
			in.Resize = "letterbox"
		}
		m.say("%s instead of %s", in.Resize, was)
	case Pad:
		if in.Resize == "stretch" {
			return fmt.Errorf("pad otherwise: the picture is stretched: %w", ErrNothing)
		}
		pad := uint8(m.rnd.IntN(256))
		in.Pad = &pad
		m.say("pad %d", pad)
	default:
		return fmt.Errorf("mutation %q is unknown", k)
	}
	return nil
}

// thresholds changes what is compared with scores and overlaps.
func (m *mutation) thresholds(k Kind) error {
	v := 0.02 + 0.96*m.rnd.Float64()
	switch k {
	case Confidence:
		m.say("confidence %.2f instead of %v", v, m.manifest.Model.Confidence)
		m.manifest.Model.Confidence = float32(v)
	case NMS:
		if m.manifest.Model.NMS == 0 {
			return fmt.Errorf("suppress otherwise: the manifest has no nms: %w", ErrNothing)
		}
		m.say("nms %.2f instead of %v", v, m.manifest.Model.NMS)
		m.manifest.Model.NMS = float32(v)
	case When:
		name, was, ok := strings.Cut(m.manifest.Rule.When, ">")
		if !ok {
			return fmt.Errorf("change the rule: its condition %q has no >", m.manifest.Rule.When)
		}
		m.manifest.Rule.When = name + ">" + strconv.FormatFloat(v, 'f', 2, 64)
		m.say("rule %s instead of >%s", m.manifest.Rule.When, was)
	}
	return nil
}
