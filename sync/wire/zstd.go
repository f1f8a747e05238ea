package wire

import (
	_ "embed"
	"encoding/base64"
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
	dec, err := zstd.NewReader(nil, zstd.WithDecoderDicts(dictionary), zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(MaxBatchBytes))
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

// decompress refuses what is larger than a batch may be.
func decompress(b []byte) ([]byte, error) {
	_, dec := codec()
	out, err := dec.DecodeAll(b, nil)
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	return out, nil
}
