package capture

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// maxCredentials bounds the file's size in bytes.
const maxCredentials = 4096

// readCredentials reads a file with one line user:password. A name without a
// slash is a systemd credential (systemd.exec(5), LoadCredential=) where the
// service has one of that name.
func readCredentials(path string) (user, password string, err error) {
	bad := func(why any) (string, string, error) {
		return "", "", fmt.Errorf("read the credentials %s: %v", path, why)
	}
	f, err := os.OpenFile(credentialPath(path), os.O_RDONLY|unix.O_NONBLOCK, 0) // a pipe would wait for its writer
	if err != nil {
		return bad(bare(err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return bad("not a regular file")
	}
	text, err := io.ReadAll(io.LimitReader(f, maxCredentials+1))
	if err != nil {
		return bad(bare(err))
	}
	line := strings.TrimRight(string(text), "\r\n")
	user, password, ok := strings.Cut(line, ":")
	if !ok || user == "" || len(text) > maxCredentials || strings.ContainsAny(line, "\r\n\x00") {
		return bad(errors.New("it must hold one line, user:password"))
	}
	return user, password, nil
}

func credentialPath(path string) string {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" || strings.ContainsRune(path, '/') {
		return path
	}
	return filepath.Join(dir, path)
}

// fileStamp tells a changed file from an unchanged one; "" where there is none.
func fileStamp(path string) string {
	if path == "" {
		return ""
	}
	info, err := os.Stat(credentialPath(path))
	if err != nil {
		return ""
	}
	return fmt.Sprint(info.ModTime().Format(time.RFC3339Nano), info.Size())
}

// access is the user and password that a source is asked with, those of its
// address before those of the credentials.
func (o order) access(u *url.URL) *url.Userinfo {
	if u.User != nil || o.User == "" {
		return u.User
	}
	return url.UserPassword(o.User, o.Password)
}
