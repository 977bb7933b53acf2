package framework_test

import (
	"testing"

	"github.com/catga-go/catga/internal/natstest"
)

func TestMain(m *testing.M) { natstest.Main(m) }
