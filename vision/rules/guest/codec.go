package guest

import (
	"encoding/binary"
	"errors"
	"math"
	"unicode/utf8"
)

// Sizes of the fixed fields, bytes; docs/rule-abi.md has the layout.
const (
	headerSize      = 40 // of a part, before its label
	evidenceSize    = 26 // of one evidence, its label's length included
	measurementSize = 16 // of one measurement, before its texts
	viewsHead       = 26 // of the views: their number, and what marks them as no evidence
)

// Errors of Decode.
var (
	ErrVersion = errors.New("the host speaks another version of the rule ABI")
	ErrShort   = errors.New("the part ends in the middle")
	ErrView    = errors.New("some evidence is of a view that the part hasn't")
)

// Decode reads a part into p, whose Evidence, Views and texts are used again:
// from part to part they are mostly the same, and memory is what costs a guest
// time. The texts are copies and stay valid. What follows the part's last field
// is left alone: a later host may say more.
func Decode(b []byte, p *Part) error {
	if len(b) < headerSize {
		return ErrShort
	}
	if binary.LittleEndian.Uint16(b) != Version {
		return ErrVersion
	}
	size := binary.LittleEndian.Uint32(b[4:])
	if uint64(size) > uint64(len(b)) || size < headerSize {
		return ErrShort
	}
	b = b[:size]
	n := int(binary.LittleEndian.Uint16(b[2:]))
	p.Width = binary.LittleEndian.Uint32(b[8:])
	p.Height = binary.LittleEndian.Uint32(b[12:])
	p.Frames = binary.LittleEndian.Uint32(b[16:])
	p.Score = float(b[20:])
	p.Box = box(b[24:])
	var ok bool
	if p.Label, b, ok = text(b[40:], p.Label); !ok {
		return ErrShort
	}
	if n*evidenceSize > len(b) {
		return ErrShort
	}
	if n > cap(p.Evidence) {
		p.Evidence = make([]Evidence, n)
	}
	p.Evidence = p.Evidence[:n]
	for i := range p.Evidence {
		if len(b) < evidenceSize {
			return ErrShort
		}
		e := &p.Evidence[i]
		e.Score, e.Frames, e.Box = float(b), binary.LittleEndian.Uint32(b[4:]), box(b[8:])
		if e.Label, b, ok = text(b[24:], e.Label); !ok {
			return ErrShort
		}
	}
	return decodeViews(b, p)
}

// decodeViews reads what follows the evidence; nothing does where one camera
// saw the part, or of a host that knows no views.
func decodeViews(b []byte, p *Part) error {
	n := 0
	if len(b) > 0 {
		if len(b) < viewsHead {
			return ErrShort
		}
		n, b = int(binary.LittleEndian.Uint16(b)), b[viewsHead:]
	}
	if n > cap(p.Views) {
		p.Views = make([]View, n)
	}
	p.Views = p.Views[:n]
	for i := range p.Views {
		v, ok := &p.Views[i], false
		if v.Camera, b, ok = text(b, v.Camera); !ok || len(b) < 8 {
			return ErrShort
		}
		v.Width, v.Height = binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
		b = b[8:]
	}
	if n > 0 && len(b) < 2*len(p.Evidence) {
		return ErrShort
	}
	for i := range p.Evidence {
		e := &p.Evidence[i]
		if e.View = 0; n == 0 {
			continue
		}
		if e.View = int(binary.LittleEndian.Uint16(b[2*i:])); e.View >= n {
			return ErrView
		}
	}
	return nil
}

// Append writes the answer behind b. Texts are cut to their limits at a
// rune's edge, control characters become spaces, and measurements past the
// limit are left out, as are those with a value or limit that is no number.
func Append(b []byte, a *Answer) []byte {
	start := len(b)
	b = binary.LittleEndian.AppendUint16(b, Version)
	b = append(b, byte(a.Verdict), 0)
	b = appendText(b, a.Reason, MaxReason)
	n := 0
	for i := range a.Measurements {
		m := &a.Measurements[i]
		if n == MaxMeasurements || !finite(m.Value) || !finite(m.Limit) {
			continue
		}
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(m.Value))
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(m.Limit))
		b = appendText(b, m.Name, MaxName)
		b = appendText(b, m.Unit, MaxUnit)
		n++
	}
	b[start+3] = byte(n)
	return b
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

func float(b []byte) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(b)) }

func box(b []byte) Box { return Box{float(b), float(b[4:]), float(b[8:]), float(b[12:])} }

// text cuts a text off b; old is given again if it is the same.
func text(b []byte, old string) (s string, rest []byte, ok bool) {
	if len(b) < 2 {
		return "", nil, false
	}
	n := int(binary.LittleEndian.Uint16(b))
	if len(b)-2 < n {
		return "", nil, false
	}
	if string(b[2:2+n]) == old {
		return old, b[2+n:], true
	}
	return string(b[2 : 2+n]), b[2+n:], true
}

func appendText(b []byte, s string, limit int) []byte {
	at := len(b)
	b = append(b, 0, 0)
	for _, r := range s { // a byte that is no UTF-8 reads as U+FFFD
		if r < ' ' || (r >= 0x7f && r < 0xa0) {
			r = ' '
		}
		if len(b)-at-2+utf8.RuneLen(r) > limit {
			break
		}
		b = utf8.AppendRune(b, r)
	}
	binary.LittleEndian.PutUint16(b[at:], uint16(len(b)-at-2))
	return b
}
