package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
)

// logger is the server's log on slog. The server reports a failing start only by a fatal message
// and carries on without what failed, so the first of those is kept.
//
// fatal is written once, by whichever goroutine of the server fails first, and read by Start.
type logger struct {
	log   *slog.Logger
	fatal atomic.Pointer[string]
}

// Noticef takes what the server says in normal operation, some twenty lines at each start.
func (l *logger) Noticef(format string, v ...any) { l.write(slog.LevelDebug, format, v) }

// Warnf takes warnings.
func (l *logger) Warnf(format string, v ...any) { l.write(slog.LevelWarn, format, v) }

// Errorf takes errors.
func (l *logger) Errorf(format string, v ...any) { l.write(slog.LevelError, format, v) }

// Fatalf takes what a server of its own process would exit after.
func (l *logger) Fatalf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	if !l.fatal.CompareAndSwap(nil, &text) {
		l.write(slog.LevelError, "%s", []any{text})
	}
}

// Debugf and Tracef are never called: the server is not asked to trace.
func (l *logger) Debugf(format string, v ...any) { l.write(slog.LevelDebug, format, v) }

// Tracef: see Debugf.
func (l *logger) Tracef(format string, v ...any) { l.write(slog.LevelDebug, format, v) }

func (l *logger) write(level slog.Level, format string, v []any) {
	ctx := context.Background() // the server has none to offer
	if l.log.Enabled(ctx, level) {
		l.log.LogAttrs(ctx, level, "nats server", slog.String("text", fmt.Sprintf(format, v...)))
	}
}

// failure is the first fatal message as an error, nil while there is none.
func (l *logger) failure() error {
	if text := l.fatal.Load(); text != nil {
		return errors.New(*text)
	}
	return nil
}
