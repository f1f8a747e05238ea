package main

import (
	"fmt"
	"io"
	"os"
)

// maxSmallText bounds a file with a passphrase or public keys, in bytes.
const maxSmallText = 64 << 10

// readSmall reads a file of at most so many bytes. It may be a pipe, as a
// shell's <(…) is.
func readSmall(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("%s: it has more than %d bytes; is it the right file?", path, most)
	}
	return text, err
}
