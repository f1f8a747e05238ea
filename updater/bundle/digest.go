package bundle

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// PieceSize is the size of the pieces in which an archive travels, in bytes;
// the last one may be shorter.
const PieceSize = 64 << 10

// TargetPath is the path of a bundle in the signed repository.
func TargetPath(name, version string) string { return "bundles/" + name + "/" + version + ".slb" }

// Digest is the SHA-256 of an archive in hex, and its size in bytes.
func Digest(r io.Reader) (digest string, size int64, err error) {
	sum := sha256.New()
	if size, err = io.Copy(sum, r); err != nil {
		return "", 0, fmt.Errorf("hash bundle: %w", err)
	}
	return hex.EncodeToString(sum.Sum(nil)), size, nil
}

// Pieces is the list of the SHA-256 of an archive's pieces, 32 bytes each. The
// hash of the list stands in the signed target.
func Pieces(r io.Reader) (list []byte, err error) {
	piece := make([]byte, PieceSize)
	for {
		n, err := io.ReadFull(r, piece)
		if n > 0 {
			sum := sha256.Sum256(piece[:n])
			list = append(list, sum[:]...)
		}
		switch {
		case err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF):
			return list, nil
		case err != nil:
			return nil, fmt.Errorf("hash the pieces of a bundle: %w", err)
		}
	}
}
