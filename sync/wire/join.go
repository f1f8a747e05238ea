package wire

import (
	"encoding/binary"

	"google.golang.org/protobuf/encoding/protowire"
)

// joiner puts bodies together from their columns.
type joiner struct {
	columns
	made int // bytes of all bodies so far
	most int // that there may be
}

// token takes the next one off the shape.
func (j *joiner) token() (uint64, error) {
	t, n := binary.Uvarint(j.shape)
	if n <= 0 {
		return 0, errColumns
	}
	j.shape = j.shape[n:]
	return t, nil
}

// count walks the shape of so many bodies and finds the columns and how many
// values each has.
func (j *joiner) count(bodies int) error {
	for range bodies {
		var at [maxDepth + 2]path
		for depth := 0; depth >= 0; {
			t, err := j.token()
			if err != nil {
				return err
			}
			switch kind := protowire.Type(t & 7); {
			case t == tokenRaw && depth == 0:
				j.column(rawPath, protowire.BytesType).count++
				depth = -1
			case t == tokenEnd:
				depth--
			case kind == protowire.StartGroupType:
				if depth++; depth > maxDepth {
					return errColumns
				}
				at[depth] = at[depth-1].in(t)
			case kind == protowire.VarintType, kind == protowire.BytesType, kind == protowire.Fixed32Type, kind == protowire.Fixed64Type:
				col := j.column(at[depth].in(t), kind)
				if col.kind != kind || len(j.at) > maxColumns {
					return errColumns
				}
				col.count++
			default:
				return errColumns
			}
		}
	}
	if len(j.shape) != 0 {
		return errColumns
	}
	return nil
}

// cut takes the column's bytes off b.
func (col *column) cut(b []byte) ([]byte, error) {
	switch col.kind {
	case protowire.VarintType:
		at := 0
		for range col.count {
			_, n := binary.Uvarint(b[at:])
			if n <= 0 {
				return nil, errColumns
			}
			at += n
		}
		col.numbers = b[:at]
		return b[at:], nil
	case protowire.BytesType:
		at, size := 0, uint64(0)
		for range col.count {
			_, n := binary.Uvarint(b[at:])
			if n <= 0 {
				return nil, errColumns
			}
			at += n
			fresh, n := binary.Uvarint(b[at:])
			if n <= 0 || fresh > uint64(len(b)) {
				return nil, errColumns
			}
			at += n
			size += fresh
		}
		col.numbers, b = b[:at], b[at:]
		if size > uint64(len(b)) {
			return nil, errColumns
		}
		col.text = b[:size]
		return b[size:], nil
	}
	for i := range fixedSize(col.kind) {
		if len(b) < col.count {
			return nil, errColumns
		}
		col.planes[i], b = b[:col.count], b[col.count:]
	}
	return b, nil
}

// body is the next one.
func (j *joiner) body() ([]byte, error) {
	if t, n := binary.Uvarint(j.shape); n > 0 && t == tokenRaw {
		j.shape = j.shape[n:]
		v, err := j.at[rawPath].nextText()
		return v, j.grown(v, err)
	}
	v, err := j.message(0)
	return v, j.grown(v, err)
}

func (j *joiner) grown(v []byte, err error) error {
	if j.made += len(v); err == nil && j.made > j.most {
		return errColumns
	}
	return err
}

// message is the fields up to its end, whose shape count has seen to be good.
func (j *joiner) message(at path) ([]byte, error) {
	out := []byte{}
	for {
		t, err := j.token()
		if err != nil {
			return nil, err
		}
		if t == tokenEnd {
			return out, nil
		}
		if protowire.Type(t&7) == protowire.StartGroupType {
			inner, err := j.message(at.in(t))
			if err != nil {
				return nil, err
			}
			out = protowire.AppendVarint(out, t&^7|uint64(protowire.BytesType))
			out = protowire.AppendBytes(out, inner)
		} else {
			out = protowire.AppendVarint(out, t)
			if out, err = j.at[at.in(t)].appendNext(out); err != nil {
				return nil, err
			}
		}
		if len(out) > maxBody || j.made+len(out) > j.most {
			return nil, errColumns
		}
	}
}

// appendNext appends the column's next value as protobuf writes it.
func (col *column) appendNext(out []byte) ([]byte, error) {
	switch col.kind {
	case protowire.VarintType:
		v, n := binary.Uvarint(col.numbers)
		col.numbers = col.numbers[n:]
		return protowire.AppendVarint(out, v), nil
	case protowire.BytesType:
		v, err := col.nextText()
		return protowire.AppendBytes(out, v), err
	}
	for i := range fixedSize(col.kind) {
		out = append(out, col.planes[i][0])
		col.planes[i] = col.planes[i][1:]
	}
	return out, nil
}

func (col *column) nextText() ([]byte, error) {
	shared, n := binary.Uvarint(col.numbers)
	col.numbers = col.numbers[n:]
	fresh, n := binary.Uvarint(col.numbers)
	col.numbers = col.numbers[n:]
	if shared > uint64(len(col.before)) || shared+fresh > maxBody {
		return nil, errColumns
	}
	v := make([]byte, 0, shared+fresh)
	v = append(append(v, col.before[:shared]...), col.text[:fresh]...)
	col.text, col.before = col.text[fresh:], v
	return v, nil
}
