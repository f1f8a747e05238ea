package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/sightline-edge/sightline/internal/whole"
)

// login is what the operator's command knows a fleet by.
type login struct {
	Fleet   string    `json:"fleet"` // its address
	CA      string    `json:"ca"`    // PEM; empty without TLS
	Token   string    `json:"token"`
	User    string    `json:"user"`
	Role    string    `json:"role"`
	Expires time.Time `json:"expires,omitzero"`
	Made    bool      `json:"made,omitempty"` // the token was made for this login, and ends with it
}

// errLoggedOut means that the fleet takes the token no longer, or that there
// is none.
var errLoggedOut = errors.New("not logged in")

func loginPath() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("find the configuration directory: %w; set XDG_CONFIG_HOME", err)
	}
	return filepath.Join(dir, "sightline", "login.json"), nil
}

// save keeps the login where nobody else can read it, whole or not at all.
func (l *login) save() (path string, err error) {
	if path, err = loginPath(); err != nil {
		return "", err
	}
	text, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return "", fmt.Errorf("keep the login: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", fmt.Errorf("keep the login: %w", err)
	}
	if err := whole.Write(path, append(text, '\n'), 0o600); err != nil {
		return "", fmt.Errorf("keep the login: %w", err)
	}
	return path, nil
}

// loadLogin reads the login; errLoggedOut without one.
func loadLogin() (*login, error) {
	path, err := loginPath()
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w at a fleet: run sightline login --fleet https://…", errLoggedOut)
	}
	if err != nil {
		return nil, fmt.Errorf("read the login: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read the login: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("read the login: others may read %s (its mode is %04o): run chmod 600 on it, and log in again if anyone could have", path, mode)
	}
	var l login
	if err := json.Unmarshal(text, &l); err != nil || l.Fleet == "" || l.Token == "" {
		return nil, fmt.Errorf("read the login: %s is damaged: run sightline login again", path)
	}
	return &l, nil
}

func forgetLogin() error {
	path, err := loginPath()
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget the login: %w", err)
	}
	return nil
}
