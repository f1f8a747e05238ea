package eval

import (
	"fmt"
	"io"
)

// WriteHTML writes the report as one page.
func (r *Report) WriteHTML(w io.Writer) error {
	_, err := fmt.Fprintln(w, "<!doctype html><title>"+r.Model+"</title>")
	return err
}
