package bundle

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// maxSettings bounds the lines that Settings gives.
const maxSettings = 64

// Settings are the lines of a manifest that decide what becomes of a picture, each
// a key with its value: how the model is read, its labels, the rule. They are
// recorded with golden vectors, since a limit may be moved so that no picture
// shows it. What the manifest leaves out has no line. The same manifest gives the
// same lines for ever.
func Settings(m *Manifest, fsys fs.FS) ([]string, error) {
	var lines []string
	add := func(set bool, key string, value ...any) {
		if set {
			text := strings.TrimSuffix(fmt.Sprintln(value...), "\n")
			lines = append(lines, plainLine(key, text))
		}
	}
	md, in := m.Model, m.Model.Input
	var labels []string
	for _, l := range md.Labels {
		labels = append(labels, l.Name+":"+l.Role)
	}
	add(true, "family", md.Family)
	add(true, "labels", strings.Join(labels, " "))
	add(len(md.Size) > 0, "size", md.Size)
	add(in.Colour != "", "input.colour", in.Colour)
	add(in.Scale != 0, "input.scale", in.Scale)
	add(len(in.Mean) > 0, "input.mean", in.Mean)
	add(len(in.Std) > 0, "input.std", in.Std)
	add(in.Resize != "", "input.resize", in.Resize)
	add(in.Interpolation != "", "input.interpolation", in.Interpolation)
	add(in.Anchor != "", "input.anchor", in.Anchor)
	if in.Pad != nil {
		add(true, "input.pad", *in.Pad)
	}
	add(in.Crop != 0, "input.crop", in.Crop)
	add(md.Activation != "", "activation", md.Activation)
	add(md.Confidence != 0, "confidence", md.Confidence)
	add(md.NMS != 0, "nms", md.NMS)
	add(md.MaxDetections != 0, "max_detections", md.MaxDetections)
	add(md.Pixel != 0, "pixel", md.Pixel)
	add(md.MinArea != 0, "min_area", md.MinArea)
	add(m.Rule != Rule{}, "rule", m.Rule.Spec())
	if m.Rule.Module != "" {
		module, err := fs.ReadFile(fsys, m.Rule.Module)
		if err != nil {
			return nil, fmt.Errorf("read the settings of a bundle: %w", err)
		}
		add(true, "rule.module", fmt.Sprintf("%x", sha256.Sum256(module)))
	}
	return lines, nil
}

// plainLine is key and value, or where those are long or can't be shown, the
// value's hash.
func plainLine(key, value string) string {
	line := key + " " + value
	if !plainText(line) {
		line = fmt.Sprintf("%s sha256:%x", key, sha256.Sum256([]byte(value)))
	}
	return line
}

// OtherSettings are the differences between settings that were recorded and what
// is now, as pairs of lines, "" where one side has none. Nothing recorded differs
// from nothing.
func (g *Golden) OtherSettings(now []string) (differ [][2]string) {
	if len(g.Settings) == 0 {
		return nil
	}
	key := func(line string) string {
		k, _, _ := strings.Cut(line, " ")
		return k
	}
	found := func(lines []string, k string) string {
		i := slices.IndexFunc(lines, func(line string) bool { return key(line) == k })
		if i < 0 {
			return ""
		}
		return lines[i]
	}
	for _, was := range g.Settings {
		if is := found(now, key(was)); is != was {
			differ = append(differ, [2]string{was, is})
		}
	}
	for _, is := range now {
		if found(g.Settings, key(is)) == "" {
			differ = append(differ, [2]string{"", is})
		}
	}
	return differ
}

func (g *Golden) checkSettings() []error {
	if len(g.Settings) > maxSettings {
		return []error{fmt.Errorf("settings: %d lines, at most %d are possible", len(g.Settings), maxSettings)}
	}
	for i, line := range g.Settings {
		if k, _, ok := strings.Cut(line, " "); !ok || k == "" || !plainText(line) {
			return []error{fmt.Errorf("settings[%d]: %.40q must be a key and its value, in at most %d printable bytes", i, line, maxGoldenText)}
		}
	}
	return nil
}
