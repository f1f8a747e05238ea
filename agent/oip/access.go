package oip

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"
)

// Sizes in bytes of what is read for access.
const (
	maxToken   = 16 << 10
	maxCA      = 1 << 20
	maxRefusal = 4 << 10
	maxWords   = 512
)

// readToken reads a file with one line. A name without a slash is a systemd
// credential where the service has one of that name.
func readToken(path string) (string, error) {
	text, err := readSmall(credentialPath(path), maxToken)
	if err != nil {
		return "", fmt.Errorf("read the token %s: %w", path, err)
	}
	line := strings.TrimRight(string(text), "\r\n")
	if line == "" || strings.ContainsFunc(line, func(r rune) bool { return r <= ' ' || r >= unicode.MaxASCII }) {
		return "", fmt.Errorf("read the token %s: it must hold one line of letters, digits and signs", path)
	}
	return line, nil
}

func credentialPath(path string) string {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" || strings.ContainsRune(path, '/') {
		return path
	}
	return filepath.Join(dir, path)
}

// readSmall reads a regular file of at most so many bytes.
func readSmall(path string, most int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a pipe would wait for its writer
	if err != nil {
		var at *os.PathError
		if errors.As(err, &at) {
			err = at.Err
		}
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	if info.Size() > most {
		return nil, fmt.Errorf("it has %d bytes, at most %d are read", info.Size(), most)
	}
	return io.ReadAll(io.LimitReader(f, most))
}

// trust says by which certificates a server is checked.
func trust(file string) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if file == "" {
		return cfg, nil
	}
	text, err := readSmall(file, maxCA)
	if err != nil {
		return nil, fmt.Errorf("read the certificates %s: %w", file, err)
	}
	cfg.RootCAs = x509.NewCertPool()
	if !cfg.RootCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("read the certificates %s: there is none in it, in PEM", file)
	}
	return cfg, nil
}

// refused reads what a server says with an answer that isn't good.
func refused(res *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(res.Body, maxRefusal)) // the code alone says enough
	var said struct {
		Error string `json:"error"`
	}
	_ = json.Unmarshal(text, &said) // what is none of the protocol's has no message
	words := strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, said.Error)
	if len(words) > maxWords {
		words = strings.ToValidUTF8(words[:maxWords], "") + "…"
	}
	return &StatusError{Code: res.StatusCode, Message: strings.TrimSpace(words)}
}

// bare takes the address off an error of the HTTP client, which the message has
// already, and tells the context's own error where that is the reason.
func bare(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var at *url.Error
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}
