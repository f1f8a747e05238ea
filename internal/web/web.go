// Package web is what the pages of device and fleet share: the style sheet,
// the script, the components, the words for numbers and times, and the headers
// that keep other sites out. It is a leaf.
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"time"
)

//go:embed assets parts
var files embed.FS

// Pages renders HTML from a caller's templates and the shared components.
type Pages struct {
	templates *template.Template
}

// Parse reads the caller's templates, all *.html in pages, beside the shared
// components. Times are told as ages from when a page is rendered.
func Parse(pages fs.FS) (*Pages, error) {
	versions, err := assetVersions()
	if err != nil {
		return nil, err
	}
	funcs := template.FuncMap{
		"asset":   func(name string) string { return "/assets/" + name + "?v=" + versions[name] },
		"age":     func(t time.Time) string { return Age(time.Since(t)) },
		"stamp":   Stamp,
		"percent": Percent,
		"count":   Count,
		"number":  Number,
		"digest":  Digest,
		"kind":    Kind,
		"word":    Word,
	}
	t, err := template.New("").Funcs(funcs).ParseFS(files, "parts/*.html")
	if err != nil {
		return nil, fmt.Errorf("parse the shared components: %w", err)
	}
	if t, err = t.ParseFS(pages, "*.html"); err != nil {
		return nil, fmt.Errorf("parse the pages: %w", err)
	}
	return &Pages{t}, nil
}

// Render writes the template of that name, or says that it couldn't. A page is
// rendered in full before its first byte leaves, so none is ever half.
func (p *Pages) Render(w http.ResponseWriter, status int, name string, data any) error {
	var b bytes.Buffer
	if err := p.templates.ExecuteTemplate(&b, name, data); err != nil {
		http.Error(w, "the page can't be shown, the log says why", http.StatusInternalServerError)
		return fmt.Errorf("render page %s: %w", name, err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // a reader that has gone needs nothing more
	return nil
}

// Link is an entry of the pages' navigation.
type Link struct {
	Name, URL string
	Here      bool // it is the page that is shown
}

// Assets serves /assets/: the style sheet, the script, the icon. A request
// with the right version may be kept for ever.
func Assets() (http.Handler, error) {
	versions, err := assetVersions()
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := path.Base(r.URL.Path)
		version, known := versions[name]
		if !known || r.URL.Path != "/assets/"+name {
			http.NotFound(w, r)
			return
		}
		body, err := files.ReadFile("assets/" + name)
		if err != nil {
			panic("BUG: " + err.Error())
		}
		w.Header().Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
		w.Header().Set("ETag", `"`+version+`"`)
		w.Header().Set("Cache-Control", "no-cache")
		if r.URL.Query().Get("v") == version {
			w.Header().Set("Cache-Control", "max-age=31536000, immutable")
		}
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(body))
	}), nil
}

// assetVersions are the first digits of each asset's SHA-256 by its name.
func assetVersions() (map[string]string, error) {
	entries, err := files.ReadDir("assets")
	if err != nil {
		return nil, fmt.Errorf("list the assets: %w", err)
	}
	versions := map[string]string{}
	for _, e := range entries {
		body, err := files.ReadFile("assets/" + e.Name())
		if err != nil {
			return nil, fmt.Errorf("read asset %s: %w", e.Name(), err)
		}
		sum := sha256.Sum256(body)
		versions[e.Name()] = hex.EncodeToString(sum[:6])
	}
	return versions, nil
}
