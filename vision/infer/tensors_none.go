//go:build !cgo

package infer

import "time"

func (*session) runTensors(*tensorsOn, time.Duration) error { panic("BUG: no session without cgo") }

func (*session) unstop() error { panic("BUG: no session without cgo") }
