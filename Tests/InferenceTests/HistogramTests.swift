// Histograms as Prometheus counts them, and which answers leave which times.
@testable import Inference
import Testing

@Suite struct HistogramTests {
    @Test func aValueOnABoundIsBelowIt() {
        var histogram = Histogram(.sequences)
        for value in [0, 1, 2, 3, 4, 256, 257, 100_000] { histogram.observe(value) }
        #expect(histogram.counts == [2, 1, 2, 0, 0, 0, 0, 0, 1, 2])
        #expect(histogram.count == 8 && histogram.sum == 100_523)
    }

    @Test func boundsRise() {
        for scale in [Histogram.Scale.request, .step, .tokens, .sequences] {
            #expect(zip(scale.bounds, scale.bounds.dropFirst()).allSatisfy { $0 < $1 })
        }
    }

    @Test func whoLeftTellsNothing() {
        var values = ModelMetrics()
        values.finished(.cancelled, TokenUsage(), GenerationTimings(), took: 5)
        #expect(values.histograms == ModelHistograms() && values.finished.isEmpty)
        var timings = GenerationTimings()
        (timings.load, timings.queue) = (7, 3)
        values.finished(.stop, TokenUsage(), timings, took: 5)
        #expect(values.histograms.endToEnd.sum == 12 && values.histograms.queue.sum == 3)
        #expect(values.finished == [.stop: 1])
    }
}
