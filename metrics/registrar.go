package metrics

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/catga-go/catga/framework"
)

const (
	prefix = "catga"

	// Native histograms: about 10 % wide buckets, bounded in number and forgotten hourly at the bound.
	nativeFactor     = 1.1
	nativeMaxBuckets = 160
	nativeReset      = time.Hour
)

// registrar registers collectors one after another and remembers the first error, so that the list of
// metrics reads as a list.
type registrar struct {
	reg   prometheus.Registerer
	added []prometheus.Collector
	err   error
}

func newRegistrar(reg prometheus.Registerer) (*registrar, error) {
	if r, ok := reg.(*prometheus.Registry); reg == nil || (ok && r == nil) {
		return nil, &framework.ConfigError{Option: "registerer", Reason: "is nil; pass a prometheus.Registerer"}
	}
	return &registrar{reg: reg}, nil
}

// done returns the first error. After one, it takes back what was registered here; what was there
// before stays.
func (r *registrar) done() error {
	if r.err == nil {
		return nil
	}
	for _, c := range r.added {
		r.reg.Unregister(c)
	}
	return fmt.Errorf("register metrics: %w", r.err)
}

func (r *registrar) counter(name, help string, labels ...string) *prometheus.CounterVec {
	opts := prometheus.CounterOpts{Namespace: prefix, Name: name, Help: help}
	return share(r, name, prometheus.NewCounterVec(opts, labels))
}

func (r *registrar) gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	opts := prometheus.GaugeOpts{Namespace: prefix, Name: name, Help: help}
	return share(r, name, prometheus.NewGaugeVec(opts, labels))
}

func (r *registrar) histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	opts := prometheus.HistogramOpts{
		Namespace: prefix, Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor:     nativeFactor,
		NativeHistogramMaxBucketNumber:  nativeMaxBuckets,
		NativeHistogramMinResetDuration: nativeReset,
	}
	return share(r, name, prometheus.NewHistogramVec(opts, labels))
}

// share registers c, or returns the collector of the same metric that is registered already.
func share[C prometheus.Collector](r *registrar, name string, c C) C {
	if r.err != nil {
		return c
	}
	err := r.reg.Register(c)
	if err == nil {
		r.added = append(r.added, c)
		return c
	}
	var already prometheus.AlreadyRegisteredError
	if !errors.As(err, &already) {
		r.err = err
		return c
	}
	existing, ok := already.ExistingCollector.(C)
	if !ok {
		r.err = fmt.Errorf("%s_%s is registered as a %T", prefix, name, already.ExistingCollector)
		return c
	}
	return existing
}
