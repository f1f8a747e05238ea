package oip

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"
)

// values reads the values of a tensor's JSON data, flat or nested as its shape
// says, one after the other. The text is valid JSON.
type values struct {
	raw    []byte
	at     int
	shape  []int64
	depth  int     // of the arrays that hold values
	counts []int64 // entries so far, of each array that is open
}

func newValues(raw []byte, shape []int64) (*values, error) {
	v := &values{raw: raw, shape: shape}
	for _, c := range raw {
		if c == '[' {
			v.depth++
		} else if c != ' ' && c != '\t' && c != '\n' && c != '\r' {
			break
		}
	}
	switch {
	case v.depth == 0:
		return nil, errors.New("its data is no array")
	case v.depth > max(1, len(shape)):
		return nil, fmt.Errorf("its data is nested %d deep, its shape %s has %d dimensions", v.depth, Shape(shape), len(shape))
	}
	return v, nil
}

// next gives the next value's text, nil behind the last.
func (v *values) next() ([]byte, error) {
	for v.at < len(v.raw) {
		switch v.raw[v.at] {
		case ' ', '\t', '\n', '\r', ',':
			v.at++
		case '[':
			v.at++
			if err := v.open(); err != nil {
				return nil, err
			}
		case ']':
			v.at++
			if err := v.close(); err != nil {
				return nil, err
			}
		case '{':
			return nil, errors.New("its data holds an object, values are wanted")
		default:
			if len(v.counts) != v.depth {
				return nil, v.ragged()
			}
			v.counts[v.depth-1]++
			return v.token(), nil
		}
	}
	return nil, nil
}

func (v *values) open() error {
	d := len(v.counts)
	if d == v.depth {
		return v.ragged()
	}
	if d > 0 {
		v.counts[d-1]++
	}
	v.counts = append(v.counts, 0)
	return nil
}

// close checks an array against the shape, where the data is nested as that says.
func (v *values) close() error {
	d := len(v.counts) - 1
	n := v.counts[d]
	v.counts = v.counts[:d]
	if v.depth == 1 {
		return nil // flat: who reads counts them
	}
	if v.depth != len(v.shape) || v.shape[d] != n {
		return v.ragged()
	}
	return nil
}

func (v *values) ragged() error {
	return fmt.Errorf("its data is neither flat nor nested as its shape %s says", Shape(v.shape))
}

// token takes the text of a number, a string or a word.
func (v *values) token() []byte {
	start := v.at
	if v.raw[start] == '"' {
		for v.at++; v.raw[v.at] != '"'; v.at++ {
			if v.raw[v.at] == '\\' {
				v.at++
			}
		}
		v.at++
		return v.raw[start:v.at]
	}
	for v.at < len(v.raw) {
		switch v.raw[v.at] {
		case ',', ']', ' ', '\t', '\n', '\r':
			return v.raw[start:v.at]
		}
		v.at++
	}
	return v.raw[start:]
}

// appendData appends a tensor's JSON data to dst as little-endian bytes. It
// appends never more than the shape says.
func appendData(dst []byte, datatype string, shape []int64, raw []byte) ([]byte, error) {
	want, err := elements(shape)
	if err != nil {
		return nil, err
	}
	v, err := newValues(raw, shape)
	if err != nil {
		return nil, err
	}
	for n := int64(0); ; n++ {
		text, err := v.next()
		if err != nil {
			return nil, err
		}
		if text == nil {
			if n != want {
				return nil, fmt.Errorf("its data has %d values, its shape %s wants %d", n, Shape(shape), want)
			}
			return dst, nil
		}
		if n == want {
			return nil, fmt.Errorf("its data has more than the %d values that its shape %s wants", want, Shape(shape))
		}
		if dst, err = appendValue(dst, datatype, text); err != nil {
			return nil, fmt.Errorf("value %d of its data: %w", n, err)
		}
	}
}

// appendValue appends one value, which may be the text of any JSON value but an
// array or an object.
func appendValue(dst []byte, datatype string, text []byte) ([]byte, error) {
	le := binary.LittleEndian
	switch datatype {
	case "BOOL":
		switch string(text) {
		case "true", "1":
			return append(dst, 1), nil
		case "false", "0":
			return append(dst, 0), nil
		}
		return nil, fmt.Errorf("%s is no BOOL: true or false is wanted", cut(string(text)))
	case "FP32", "FP64":
		bits := int(8 * sizes[datatype])
		f, err := strconv.ParseFloat(string(text), bits)
		if err != nil {
			return nil, notA(datatype, text, err)
		}
		if bits == 32 {
			return le.AppendUint32(dst, math.Float32bits(float32(f))), nil
		}
		return le.AppendUint64(dst, math.Float64bits(f)), nil
	case bytesType:
		var s string
		if err := json.Unmarshal(text, &s); err != nil || text[0] != '"' {
			return nil, fmt.Errorf("%s is no text", cut(string(text)))
		}
		return append(le.AppendUint32(dst, uint32(len(s))), s...), nil
	case "FP16", "BF16":
		return nil, fmt.Errorf("%s can't be sent as JSON: send it as binary data", datatype)
	}
	return appendWhole(dst, datatype, text)
}

// appendWhole appends one whole number.
func appendWhole(dst []byte, datatype string, text []byte) ([]byte, error) {
	bits := int(8 * sizes[datatype])
	var n uint64
	var err error
	if datatype[0] == 'U' {
		n, err = strconv.ParseUint(string(text), 10, bits)
	} else {
		var i int64
		i, err = strconv.ParseInt(string(text), 10, bits)
		n = uint64(i)
	}
	if err != nil {
		return nil, notA(datatype, text, err)
	}
	for range bits / 8 {
		dst, n = append(dst, byte(n)), n>>8
	}
	return dst, nil
}

func notA(datatype string, text []byte, err error) error {
	if errors.Is(err, strconv.ErrRange) {
		return fmt.Errorf("%s is out of the range of %s", cut(string(text)), datatype)
	}
	return fmt.Errorf("%s is no %s", cut(string(text)), datatype)
}

// appendText appends the first value of data as JSON, and gives the rest.
func appendText(dst []byte, datatype string, data []byte) (text, rest []byte, err error) {
	le := binary.LittleEndian
	if datatype == bytesType {
		n := le.Uint32(data)
		value := data[4 : 4+n]
		if !utf8.Valid(value) {
			return nil, nil, errors.New("it is no text: ask for binary data")
		}
		quoted, err := json.Marshal(string(value))
		return append(dst, quoted...), data[4+n:], err
	}
	size := sizes[datatype]
	value, rest := data[:size], data[size:]
	switch datatype {
	case "BOOL":
		return strconv.AppendBool(dst, value[0] != 0), rest, nil
	case "FP32":
		dst, err = appendFloat(dst, float64(math.Float32frombits(le.Uint32(value))), 32)
		return dst, rest, err
	case "FP64":
		dst, err = appendFloat(dst, math.Float64frombits(le.Uint64(value)), 64)
		return dst, rest, err
	case "FP16", "BF16":
		return nil, nil, fmt.Errorf("%s can't be sent as JSON: ask for binary data", datatype)
	}
	var n uint64
	for i := range value {
		n |= uint64(value[i]) << (8 * i)
	}
	if datatype[0] == 'U' {
		return strconv.AppendUint(dst, n, 10), rest, nil
	}
	shift := 64 - 8*size
	return strconv.AppendInt(dst, int64(n<<shift)>>shift, 10), rest, nil
}

func appendFloat(dst []byte, f float64, bits int) ([]byte, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, fmt.Errorf("JSON knows no %v: ask for binary data", f)
	}
	return strconv.AppendFloat(dst, f, 'g', -1, bits), nil
}
