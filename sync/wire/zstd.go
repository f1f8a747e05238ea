package wire

import (
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// codec is made once: an encoder or decoder costs more than a batch.
var codec = sync.OnceValues(func() (*zstd.Encoder, *zstd.Decoder) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedBetterCompression),
		zstd.WithEncoderCRC(false))
	if err != nil {
		panic("BUG: " + err.Error())
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(MaxBatchBytes))
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
