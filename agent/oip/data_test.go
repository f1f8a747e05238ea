package oip

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDataOfEveryDatatype(t *testing.T) {
	for _, c := range []struct {
		datatype, json, data string // what JSON reads, and its bytes
	}{
		{"BOOL", `[true,false]`, "\x01\x00"},
		{"UINT8", `[0,255]`, "\x00\xff"},
		{"INT8", `[-128,127]`, "\x80\x7f"},
		{"UINT16", `[1,65535]`, "\x01\x00\xff\xff"},
		{"INT16", `[-2,258]`, "\xfe\xff\x02\x01"},
		{"UINT32", `[1,4294967295]`, "\x01\x00\x00\x00\xff\xff\xff\xff"},
		{"INT32", `[-1,16909060]`, "\xff\xff\xff\xff\x04\x03\x02\x01"},
		{"UINT64", `[1,18446744073709551615]`, "\x01\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff"},
		{"INT64", `[-9223372036854775808,9007199254740993]`, "\x00\x00\x00\x00\x00\x00\x00\x80\x01\x00\x00\x00\x00\x00\x20\x00"},
		{"FP32", `[0.1,-2.5]`, "\xcd\xcc\xcc\x3d\x00\x00\x20\xc0"},
		{"FP64", `[0.1,-2.5]`, "\x9a\x99\x99\x99\x99\x99\xb9\x3f\x00\x00\x00\x00\x00\x00\x04\xc0"},
		{"BYTES", `["bolt","\"ü"]`, "\x04\x00\x00\x00bolt\x03\x00\x00\x00\"ü"},
	} {
		data, err := appendData(nil, c.datatype, []int64{2}, []byte(c.json))
		if err != nil || string(data) != c.data {
			t.Errorf("%s %s is %q (%v), want %q", c.datatype, c.json, data, err, c.data)
		}
		tensor := Tensor{Name: "x", Datatype: c.datatype, Shape: []int64{2}, Data: []byte(c.data)}
		if err := tensor.check(); err != nil {
			t.Error(err)
		}
		back, err := jsonOf(&tensor)
		if err != nil || string(back) != c.json {
			t.Errorf("%s %q is %s (%v), want %s", c.datatype, c.data, back, err, c.json)
		}
	}
}

func jsonOf(t *Tensor) ([]byte, error) {
	var j jsonText
	err := j.values(t)
	return j.buf, err
}

func TestDataFlatOrNested(t *testing.T) {
	want := "\x01\x02\x03\x04\x05\x06"
	for _, text := range []string{`[1,2,3,4,5,6]`, `[[1,2,3],[4,5,6]]`, " [ [1 , 2,3],\n[4,5,6 ]]"} {
		if got, err := appendData(nil, "UINT8", []int64{2, 3}, []byte(text)); err != nil || string(got) != want {
			t.Errorf("%s is %q (%v)", text, got, err)
		}
	}
	for _, c := range []struct {
		shape []int64
		text  string
	}{{nil, `[7]`}, {[]int64{0}, `[]`}, {[]int64{2, 0}, `[[],[]]`}, {[]int64{1, 1, 1}, `[[[7]]]`}} {
		if _, err := appendData(nil, "INT8", c.shape, []byte(c.text)); err != nil {
			t.Errorf("%s of shape %v: %v", c.text, c.shape, err)
		}
	}
}

func TestDataRefused(t *testing.T) {
	for _, c := range []struct{ datatype, text, want string }{
		{"UINT8", `[1,2,3]`, "its data has 3 values, its shape [2,2] wants 4"},
		{"UINT8", `[1,2,3,4,5]`, "its data has more than the 4 values that its shape [2,2] wants"},
		{"UINT8", `[[1,2],[3]]`, "its data is neither flat nor nested as its shape [2,2] says"},
		{"UINT8", `[[1,2,3],[4]]`, "its data is neither flat nor nested as its shape [2,2] says"},
		{"UINT8", `[[1,2],3,4]`, "its data is neither flat nor nested as its shape [2,2] says"},
		{"UINT8", `[1,[2,3],4]`, "its data is neither flat nor nested as its shape [2,2] says"},
		{"UINT8", `[[[1,2],[3,4]]]`, "its data is nested 3 deep, its shape [2,2] has 2 dimensions"},
		{"UINT8", `5`, "its data is no array"},
		{"UINT8", `[{"a":1}]`, "its data holds an object, values are wanted"},
		{"UINT8", `[1,256,3,4]`, "value 1 of its data: 256 is out of the range of UINT8"},
		{"UINT8", `[1,2,-3,4]`, "value 2 of its data: -3 is no UINT8"},
		{"INT64", `[1.5,2,3,4]`, "value 0 of its data: 1.5 is no INT64"},
		{"FP32", `[1e39,2,3,4]`, "value 0 of its data: 1e39 is out of the range of FP32"},
		{"FP32", `["a",2,3,4]`, `value 0 of its data: "a" is no FP32`},
		{"FP32", `[null,2,3,4]`, "value 0 of its data: null is no FP32"},
		{"BOOL", `[2,1,1,1]`, "value 0 of its data: 2 is no BOOL: true or false is wanted"},
		{"FP16", `[1,2,3,4]`, "value 0 of its data: FP16 can't be sent as JSON: send it as binary data"},
		{"BYTES", `[1,2,3,4]`, "value 0 of its data: 1 is no text"},
		{"BYTES", `[null,"","",""]`, "value 0 of its data: null is no text"},
	} {
		if _, err := appendData(nil, c.datatype, []int64{2, 2}, []byte(c.text)); err == nil || err.Error() != c.want {
			t.Errorf("%s %s: got %v, want %s", c.datatype, c.text, err, c.want)
		}
	}
}

func TestJSONKnowsNoInfinity(t *testing.T) {
	inf := Tensor{Name: "y", Datatype: "FP32", Shape: []int64{1}, Data: []byte("\x00\x00\x80\x7f")}
	want := "value 0 of y: JSON knows no +Inf: ask for binary data"
	if _, err := jsonOf(&inf); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestTensorsRefused(t *testing.T) {
	for _, c := range []struct {
		tensor Tensor
		want   string
	}{
		{Tensor{Datatype: "INT8"}, "a tensor's name has 0 bytes, 1 to 512 are possible"},
		{Tensor{Name: "x", Datatype: "float32"}, `x: its datatype is "float32": one of BOOL, `},
		{Tensor{Name: "x", Datatype: "INT8", Shape: []int64{-1}}, "x: its shape is [-1]: a dimension can't be negative"},
		{Tensor{Name: "x", Datatype: "INT8", Shape: []int64{1 << 40, 1 << 40}}, "x: its shape is [1099511627776,1099511627776]: more than 2147483647 values"},
		{Tensor{Name: "x", Datatype: "INT8", Shape: make([]int64, 33)}, "x: its shape has 33 dimensions, at most 32 are possible"},
		{Tensor{Name: "x", Datatype: "FP32", Shape: []int64{2}, Data: make([]byte, 7)}, "x has 7 bytes of data, [2] of FP32 are 8"},
		{Tensor{Name: "x", Datatype: "BYTES", Shape: []int64{1}, Data: []byte("\x09\x00\x00\x00abc")}, "x: its data of BYTES ends in the middle of value 0"},
		{Tensor{Name: "x", Datatype: "BYTES", Shape: []int64{2}, Data: []byte("\x00\x00\x00\x00")}, "x has 1 values, its shape [2] wants 2"},
	} {
		if err := c.tensor.check(); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%v: got %v, want %s", c.tensor, err, c.want)
		}
	}
}

// What JSON of a tensor is taken comes out as JSON of the same values.
func FuzzData(f *testing.F) {
	f.Add("FP32", 2, 3, []byte(`[[1,2,3],[4,5e3,-6]]`))
	f.Add("BYTES", 2, 1, []byte(`["a","\u00fc\"]["]`))
	f.Add("UINT64", 0, 1, []byte(`[]`))
	f.Add("BOOL", 1, 1, []byte(`[true]`))
	f.Fuzz(func(t *testing.T, datatype string, a, b int, text []byte) {
		shape := []int64{int64(a), int64(b)}
		if _, err := Bytes(datatype, shape); err != nil || !json.Valid(text) {
			return
		}
		data, err := appendData(nil, datatype, shape, text)
		if err != nil {
			return
		}
		tensor := Tensor{Name: "x", Datatype: datatype, Shape: shape, Data: data}
		if err := tensor.check(); err != nil {
			t.Fatalf("%s was taken, but %v", text, err)
		}
		back, err := jsonOf(&tensor)
		if err != nil {
			t.Fatal(err)
		}
		again, err := appendData(nil, datatype, shape, back)
		if err != nil || !cmp.Equal(again, data) {
			t.Fatalf("%s became %s: %q, then %q (%v)", text, back, data, again, err)
		}
	})
}
