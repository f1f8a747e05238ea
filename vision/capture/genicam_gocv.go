//go:build cgo && gocv

package capture

import (
	"context"
	"errors"
)

func openGenICam(context.Context, order) (reader, opened, error) {
	return nil, opened{}, errors.New("industrial cameras can't be read yet")
}
