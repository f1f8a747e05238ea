package wire

import (
	"encoding/binary"
	"errors"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// Bodies of one batch are much alike, so they are written by columns: first
// their shape (which fields, in which order), then for each field all its
// values. Repeated texts and the upper bytes of numbers then cost next to
// nothing when they are compressed. It is reversible for any bytes, needs no
// schema to be undone, and knows no lengths beyond what the shape implies.
//
// The shape is a sequence of varints: for a field its tag; for a message that
// is taken apart its tag with the wire type of a group's start, then its
// fields, then tokenEnd; for a body that can't be taken apart tokenRaw.
const (
	tokenRaw uint64 = 0 // the whole body is one text
	tokenEnd uint64 = uint64(protowire.EndGroupType)

	maxDepth   = 4
	maxColumns = 2048            // more than add makes of anything
	maxBody    = MaxRecord + 128 // as delta writes it, where numbers that go back are longer
)

// path names a column: the tags from the body down, 8 bits each. Deeper or
// larger tags share columns, which costs room and nothing else.
type path uint64

// rawPath is the column of bodies that can't be taken apart. Path 0 would be
// that of field 32 as well.
const rawPath = ^path(0)

func (p path) in(tag uint64) path { return p<<8 | path(tag&0xff) }

// messages are the fields that are messages themselves, by their path.
var messages = func() map[path]bool {
	all := map[path]bool{}
	for _, way := range [][]uint64{{1}, {1, 9}, {1, 10}, {1, 10, 4}, {1, 11}, {1, 25}, {1, 31}, {1, 32}, {2}, {2, 2}, {3}} {
		var p path
		for _, field := range way {
			p = p.in(field<<3 | uint64(protowire.StartGroupType))
		}
		all[p] = true
	}
	return all
}()

// column holds one field's values: numbers as varints, texts as how much they
// share with the text before and what is new, fixed-size values by planes.
type column struct {
	kind    protowire.Type
	count   int
	numbers []byte // varints
	text    []byte
	planes  [8][]byte
	before  []byte // the newest text
}

// columns takes bodies apart, or puts them together.
type columns struct {
	shape []byte
	at    map[path]*column
	order []path // by first appearance
}

func (c *columns) column(p path, kind protowire.Type) *column {
	if c.at == nil {
		c.at = map[path]*column{}
	}
	col := c.at[p]
	if col == nil {
		col = &column{kind: kind}
		c.at[p] = col
		c.order = append(c.order, p)
	}
	return col
}

// add takes one more body apart.
func (c *columns) add(body []byte) {
	if !plain(body, 0, 0) {
		c.shape = binary.AppendUvarint(c.shape, tokenRaw)
		c.column(rawPath, protowire.BytesType).addText(body)
		return
	}
	c.fields(body, 0)
	c.shape = binary.AppendUvarint(c.shape, tokenEnd)
}

// plain reports whether the message comes out of fields and back the same:
// no groups, and no number longer than it must be.
func plain(b []byte, at path, depth int) bool {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 || n != protowire.SizeTag(field) {
			return false
		}
		tag := protowire.EncodeTag(field, kind)
		b = b[n:]
		switch kind {
		case protowire.VarintType:
			v, n := protowire.ConsumeVarint(b)
			if n < 0 || n != protowire.SizeVarint(v) {
				return false
			}
			b = b[n:]
		case protowire.Fixed32Type, protowire.Fixed64Type:
			size := fixedSize(kind)
			if len(b) < size {
				return false
			}
			b = b[size:]
		case protowire.BytesType:
			v, n := protowire.ConsumeBytes(b)
			if n < 0 || n != protowire.SizeBytes(len(v)) {
				return false
			}
			if inner := at.in(tag&^7 | uint64(protowire.StartGroupType)); depth < maxDepth && messages[inner] && !plain(v, inner, depth+1) {
				return false
			}
			b = b[n:]
		default:
			return false
		}
	}
	return true
}

func fixedSize(kind protowire.Type) int {
	if kind == protowire.Fixed32Type {
		return 4
	}
	return 8
}

// fields adds the fields of a plain message.
func (c *columns) fields(b []byte, at path) {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		b = b[n:]
		tag := protowire.EncodeTag(field, kind)
		if kind == protowire.BytesType {
			v, n := protowire.ConsumeBytes(b)
			b = b[n:]
			group := tag&^7 | uint64(protowire.StartGroupType)
			if inner := at.in(group); messages[inner] {
				c.shape = binary.AppendUvarint(c.shape, group)
				c.fields(v, inner)
				c.shape = binary.AppendUvarint(c.shape, tokenEnd)
				continue
			}
			c.shape = binary.AppendUvarint(c.shape, tag)
			c.column(at.in(tag), kind).addText(v)
			continue
		}
		c.shape = binary.AppendUvarint(c.shape, tag)
		col := c.column(at.in(tag), kind)
		if kind == protowire.VarintType {
			_, n := protowire.ConsumeVarint(b)
			col.numbers = append(col.numbers, b[:n]...)
			b = b[n:]
			continue
		}
		for i := range fixedSize(kind) {
			col.planes[i] = append(col.planes[i], b[i])
		}
		b = b[fixedSize(kind):]
	}
}

func (col *column) addText(v []byte) {
	shared := 0
	for shared < len(v) && shared < len(col.before) && v[shared] == col.before[shared] {
		shared++
	}
	col.numbers = binary.AppendUvarint(col.numbers, uint64(shared))
	col.numbers = binary.AppendUvarint(col.numbers, uint64(len(v)-shared))
	col.text = append(col.text, v[shared:]...)
	col.before = v
}

// bytes is everything: the shape's length, the shape, the columns in the order
// of their first appearance.
func (c *columns) bytes() []byte {
	out := binary.AppendUvarint(nil, uint64(len(c.shape)))
	out = append(out, c.shape...)
	for _, p := range c.order {
		col := c.at[p]
		out = append(out, col.numbers...)
		out = append(out, col.text...)
		out = append(out, slices.Concat(col.planes[:]...)...)
	}
	return out
}

var errColumns = errors.New("its columns are cut")

// joinColumns undoes add and bytes: count bodies, which together have at most
// so many bytes.
func joinColumns(b []byte, count, most int) ([][]byte, error) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)-w) {
		return nil, errColumns
	}
	shape, rest := b[w:w+int(n)], b[w+int(n):]
	j := joiner{most: most}
	j.shape = shape
	if err := j.count(count); err != nil {
		return nil, err
	}
	for _, p := range j.order {
		var err error
		if rest, err = j.at[p].cut(rest); err != nil {
			return nil, err
		}
	}
	if len(rest) != 0 {
		return nil, errColumns
	}
	bodies := make([][]byte, 0, count)
	j.shape = shape
	for range count {
		body, err := j.body()
		if err != nil {
			return nil, err
		}
		bodies = append(bodies, body)
	}
	return bodies, nil
}
