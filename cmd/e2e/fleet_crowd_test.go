package e2e

import "context"

func runCrowd(ctx context.Context, s *settings) error { return nil }
