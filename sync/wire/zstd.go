package wire

import (
	_ "embed"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// dictionaryText is dictionary 1, trained on made-up lines (dictionary_test.go).
// It never changes: what was compressed with it must be readable for ever.
//
//go:embed dictionary.v1.b64
var dictionaryText string

// dictionaryID stands in each compressed frame; from 32768 on ids are free for
// private use (RFC 8878, 5).
const dictionaryID = 0x534c0001

// maxColumnBytes is what the columns of a batch may have: a text without bytes
// has two in a record and three in its column.
const maxColumnBytes = MaxBatchBytes*3/2 + freeBytes

// codec is made once: an encoder or decoder costs more than a batch.
var codec = sync.OnceValues(func() (*zstd.Encoder, *zstd.Decoder) {
	dictionary, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(dictionaryText, "\n", ""))
	if err != nil {
		panic("BUG: dictionary.v1.b64: " + err.Error())
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderDict(dictionary), zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedBetterCompression),
		zstd.WithEncoderCRC(false))
	if err != nil {
		panic("BUG: " + err.Error())
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderDicts(dictionary), zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxColumnBytes), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return enc, dec
})

// compress appends the compressed bytes to dst.
func compress(dst, b []byte) []byte {
	enc, _ := codec()
	return enc.EncodeAll(b, dst)
}

const (
	skippableFrame = 0x184d2a50 // RFC 8878, 3.1.2
	unsaidSize     = 4 << 10    // a frame says its size if that is more; our encoder does from 256 bytes on
)

// pad adds what stands for nothing to so many compressed bytes that would
// stand for more than their allowance.
func pad(dst []byte, size, sent int) []byte {
	missing := (size-freeBytes+mostGrowth-1)/mostGrowth - sent
	if missing <= 0 {
		return dst
	}
	dst = binary.LittleEndian.AppendUint32(dst, skippableFrame)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(missing))
	return append(dst, make([]byte, missing)...)
}

// decompress refuses what has more than so many bytes, before they are made.
func decompress(b []byte, most int) ([]byte, error) {
	var h zstd.Header
	if err := h.Decode(b); err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	size := uint64(unsaidSize)
	if h.HasFCS {
		size = h.FrameContentSize
	}
	if size > uint64(most) {
		return nil, fmt.Errorf("decompress: %d bytes stand for %d, at most %d will do", len(b), size, most)
	}
	_, dec := codec()
	out, err := dec.DecodeAll(b, make([]byte, 0, size))
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	return out, nil
}
