package rules

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sightline-edge/sightline/vision"
)

// The rule ABI as docs/rule-abi.md lays it down. The guest's side is written
// apart, in package guest, and the tests hold the two against each other.
const (
	version         = 1
	headerSize      = 40 // of a part, before its label
	maxEvidence     = math.MaxUint16
	maxText         = math.MaxUint16 // bytes of a label or of the parameters
	maxInput        = 1 << 20
	maxAnswer       = 8192
	maxReason       = 200
	maxMeasurements = 64
	maxName         = 64
	maxUnit         = 16
	measurementSize = 16 // before its texts

	// The views begin with as many bytes as a piece of evidence and the length
	// of a label that isn't there: a reader that takes all up to the end for
	// evidence, as the C header once did, stops at it. So they must be shorter.
	viewsPad  = 22 // zeroes, behind the views' number
	viewsMark = math.MaxUint16
)

// appendPart writes the part as the guest reads it. A score or box that is no
// number is refused: compared with any limit it would pass.
func appendPart(b []byte, p *vision.Part, width, height int) ([]byte, error) {
	if len(p.Defects) > maxEvidence {
		return b, fmt.Errorf("the part has %d labels of evidence, at most %d will do", len(p.Defects), maxEvidence)
	}
	if err := checkSize(width, height); err != nil {
		return b, err
	}
	if err := checkSeen(p.Label, p.Score, p.Box); err != nil {
		return b, err
	}
	b = binary.LittleEndian.AppendUint16(b, version)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(p.Defects)))
	b = binary.LittleEndian.AppendUint32(b, 0) // the size, below
	b = binary.LittleEndian.AppendUint32(b, uint32(width))
	b = binary.LittleEndian.AppendUint32(b, uint32(height))
	b = binary.LittleEndian.AppendUint32(b, count(p.Frames))
	b = appendFloat(b, p.Score)
	b = appendBox(b, p.Box)
	b = appendText(b, p.Label)
	for i := range p.Defects {
		e := &p.Defects[i]
		if err := checkSeen(e.Label, e.Score, e.Box); err != nil {
			return b, err
		}
		b = appendFloat(b, e.Score)
		b = binary.LittleEndian.AppendUint32(b, count(e.Frames))
		b = appendBox(b, e.Box)
		b = appendText(b, e.Label)
	}
	b, err := appendViews(b, p)
	if err != nil {
		return b, err
	}
	if len(b) > maxInput {
		return b, fmt.Errorf("the part with its evidence has %d bytes, at most %d will do", len(b), maxInput)
	}
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)))
	return b, nil
}

// appendViews writes what several cameras contributed, and which of them saw
// each evidence; nothing for a part that one camera saw.
func appendViews(b []byte, p *vision.Part) ([]byte, error) {
	if len(p.Views) < 2 {
		return b, nil
	}
	if len(p.Views) > math.MaxUint16 {
		return b, fmt.Errorf("the part has %d views, at most %d will do", len(p.Views), math.MaxUint16)
	}
	b = binary.LittleEndian.AppendUint16(b, uint16(len(p.Views)))
	b = append(b, make([]byte, viewsPad)...)
	b = binary.LittleEndian.AppendUint16(b, viewsMark)
	start := len(b)
	for i := range p.Views {
		v := &p.Views[i]
		if len(v.Camera) > maxText {
			return b, fmt.Errorf("a camera's name has %d bytes, at most %d will do", len(v.Camera), maxText)
		}
		if err := checkSize(v.Width, v.Height); err != nil {
			return b, err
		}
		b = appendText(b, v.Camera)
		b = binary.LittleEndian.AppendUint32(b, uint32(v.Width))
		b = binary.LittleEndian.AppendUint32(b, uint32(v.Height))
	}
	for i := range p.Defects {
		n := p.Defects[i].View
		if n < 0 || n >= len(p.Views) {
			return b, fmt.Errorf("label %q was seen in view %d of %d, counted from 0", p.Defects[i].Label, n, len(p.Views))
		}
		b = binary.LittleEndian.AppendUint16(b, uint16(n))
	}
	if n := len(b) - start; n >= viewsMark {
		return b, fmt.Errorf("the part's views and which evidence is whose take %d bytes, at most %d will do", n, viewsMark-1)
	}
	return b, nil
}

func checkSize(width, height int) error {
	if width < 0 || height < 0 || width > math.MaxInt32 || height > math.MaxInt32 {
		return fmt.Errorf("the picture's size is %d × %d", width, height)
	}
	return nil
}

func checkSeen(label string, score float32, b vision.Box) error {
	if len(label) > maxText {
		return fmt.Errorf("a label has %d bytes, at most %d will do", len(label), maxText)
	}
	for _, v := range [...]float32{score, b.X, b.Y, b.W, b.H} {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return fmt.Errorf("label %q has the score %v in the box %v: a rule judges finite numbers only", label, score, b)
		}
	}
	return nil
}

func count(n int) uint32 { return uint32(min(max(n, 0), math.MaxInt32)) }

func appendFloat(b []byte, v float32) []byte {
	return binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
}

func appendBox(b []byte, x vision.Box) []byte {
	return appendFloat(appendFloat(appendFloat(appendFloat(b, x.X), x.Y), x.W), x.H)
}

func appendText(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint16(b, uint16(len(s))), s...)
}

// decodeAnswer reads a guest's answer and trusts none of it. The decision
// holds no memory of the guest's.
func decodeAnswer(b []byte) (vision.Decision, error) {
	var none vision.Decision
	if len(b) == 0 {
		return none, errors.New("it is empty")
	}
	if len(b) < 6 {
		return none, fmt.Errorf("it has %d bytes, the shortest has 6", len(b))
	}
	if v := binary.LittleEndian.Uint16(b); v != version {
		return none, fmt.Errorf("it is of ABI version %d, this host speaks %d", v, version)
	}
	d := vision.Decision{Verdict: vision.Verdict(b[2])}
	if d.Verdict > vision.Fail {
		return none, fmt.Errorf("its verdict is %d, neither NONE (0), PASS (1) nor FAIL (2)", b[2])
	}
	n := int(b[3])
	if n > maxMeasurements {
		return none, fmt.Errorf("it has %d measurements, at most %d will do", n, maxMeasurements)
	}
	var err error
	if d.Reason, b, err = cutText(b[4:], maxReason, "reason"); err != nil {
		return none, err
	}
	for range n {
		var m vision.Measurement
		if m, b, err = cutMeasurement(b); err != nil {
			return none, err
		}
		d.Measurements = append(d.Measurements, m)
	}
	if len(b) > 0 {
		return none, fmt.Errorf("%d bytes follow its last field", len(b))
	}
	return d, nil
}

func cutMeasurement(b []byte) (m vision.Measurement, rest []byte, err error) {
	if len(b) < measurementSize {
		return m, nil, errors.New("it ends in a measurement")
	}
	m.Value = math.Float64frombits(binary.LittleEndian.Uint64(b))
	m.Limit = math.Float64frombits(binary.LittleEndian.Uint64(b[8:]))
	if m.Name, b, err = cutText(b[measurementSize:], maxName, "measurement's name"); err != nil {
		return m, nil, err
	}
	if m.Unit, b, err = cutText(b, maxUnit, "measurement's unit"); err != nil {
		return m, nil, err
	}
	for _, v := range [...]float64{m.Value, m.Limit} {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return m, nil, fmt.Errorf("measurement %q holds %v, which is no finite number", m.Name, v)
		}
	}
	return m, b, nil
}

func cutText(b []byte, most int, what string) (s string, rest []byte, err error) {
	if len(b) < 2 {
		return "", nil, fmt.Errorf("it ends before the %s", what)
	}
	n := int(binary.LittleEndian.Uint16(b))
	if n > most {
		return "", nil, fmt.Errorf("its %s has %d bytes, at most %d will do", what, n, most)
	}
	if n > len(b)-2 {
		return "", nil, fmt.Errorf("it ends in the %s", what)
	}
	s = string(b[2 : 2+n])
	if !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return "", nil, fmt.Errorf("its %s %q is not plain UTF-8", what, s)
	}
	return s, b[2+n:], nil
}

// clean makes a guest's text fit for a terminal.
func clean(b []byte) string {
	s := strings.ToValidUTF8(string(b[:min(len(b), 1000)]), "?")
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}
