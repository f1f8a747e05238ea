package fleet

import (
	"context"
	"errors"
	"time"
)

// SetClockBack makes this machine's clock the time of the fleet in the
// directory again, and says what that was. A fleet that is served is an error:
// it would put the time back.
func SetClockBack(ctx context.Context, dir string) (was time.Time, err error) {
	st, err := OpenStore(dir)
	if err != nil {
		return time.Time{}, err
	}
	held, err := lock(dir)
	if err != nil {
		return time.Time{}, errors.Join(err, st.Close())
	}
	was, err = st.SetClockBack(ctx)
	return was, errors.Join(err, st.Close(), held.Close())
}
