package capture

import (
	"bytes"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestCredentials(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct{ name, text, user, password string }{
		{"plain", "bob:geheim", "bob", "geheim"},
		{"line end", "bob:geheim\n", "bob", "geheim"},
		{"Windows", "bob:geheim\r\n", "bob", "geheim"},
		{"colons and blanks", "bob: a:b c :\n", "bob", " a:b c :"},
		{"UTF-8", "jürgen:pässwörd🔒\n", "jürgen", "pässwörd🔒"},
		{"no password", "bob:\n", "bob", ""},
		{"percent and slash", "b%41ob:p/a@s#s%20\n", "b%41ob", "p/a@s#s%20"},
	} {
		user, password, err := readCredentials(write(t, dir, c.name, []byte(c.text)))
		if err != nil || user != c.user || password != c.password {
			t.Errorf("%s: %q %q %v", c.name, user, password, err)
		}
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		filepath.Join(dir, "missing"): "no such file",
		dir:                           "not a regular file",
		pipe:                          "not a regular file",
		"/dev/zero":                   "not a regular file",
		write(t, dir, "two lines", []byte("bob:secret-1\neve:secret-2\n")):             "one line, user:password",
		write(t, dir, "no colon", []byte("secret-1\n")):                                "one line, user:password",
		write(t, dir, "no user", []byte(":secret-1\n")):                                "one line, user:password",
		write(t, dir, "empty", nil):                                                    "one line, user:password",
		write(t, dir, "zero byte", []byte("bob:secret-1\x00x\n")):                      "one line, user:password",
		write(t, dir, "long", append([]byte("bob:secret-1"), make([]byte, 10<<20)...)): "one line, user:password",
		write(t, dir, "long line", []byte("bob:"+strings.Repeat("secret-1", 1000))):    "one line, user:password",
	} {
		began := time.Now()
		_, _, err := readCredentials(name)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret-1") {
			t.Errorf("the password is shown: %v", err)
		}
		if d := time.Since(began); d > 5*time.Second {
			t.Errorf("%s took %v", name, d)
		}
	}
}

func TestCredentialsOfTheService(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "camera1", []byte("bob:geheim\n"))
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	if user, password, err := readCredentials("camera1"); err != nil || user != "bob" || password != "geheim" {
		t.Error(user, password, err)
	}
	if _, _, err := readCredentials("./camera1"); err == nil {
		t.Error("a path was looked for among the service's credentials")
	}
}

// TestCredentialsReachTheCameraAndNothingElse: the file is read anew at each
// connection; its password is in no log, error, argument or environment.
func TestCredentialsReachTheCameraAndNothingElse(t *testing.T) {
	t.Parallel()
	pic := jpegOf(t, plain(64, 48, 9))
	l := &locked{scheme: "digest", inner: func(w http.ResponseWriter, _ *http.Request) { givePicture(w, pic) }}
	at, _ := served(t, l.ServeHTTP)
	file := write(t, t.TempDir(), "credentials", []byte(lockedUser+":wrong-secret\n"))
	var log lockedBuffer
	cfg := config(at)
	cfg.Credentials, cfg.Rate = file, 20
	cfg.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r := start(t, cfg)
	eventually(t, 10*time.Second, "the refusal", func() bool { return r.Stats().State == Refused })
	if e := r.Stats().LastError; !strings.Contains(e, "credentials") {
		t.Error(e)
	}
	if err := os.WriteFile(file, []byte(lockedUser+":"+lockedPassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.next(10 * time.Second).Release()
	for _, of := range []string{"cmdline", "environ"} {
		b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(r.pid()), of))
		if err != nil || len(b) == 0 {
			t.Fatalf("%s: %v", of, err)
		}
		if bytes.Contains(b, []byte("geheim")) {
			t.Errorf("the password is in the process's %s", of)
		}
	}
	if text := log.String() + r.Stats().LastError; strings.Contains(text, "geheim") || strings.Contains(text, "wrong-secret") {
		t.Errorf("a password is shown: %s", text)
	}
}

// lockedBuffer may be written to and read from several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
