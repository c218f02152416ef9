// Renders the counters in Prometheus' text format.
internal import Scheduler
internal import Workers

extension Gateway {
    func metricsText() -> String {
        let counted = shared.counted
        let load = shared.dispatcher.load
        var text = """
            # TYPE swiftlet_http_requests_total counter
            swiftlet_http_requests_total \(counted.requests)
            # TYPE swiftlet_cold_starts_total counter
            swiftlet_cold_starts_total \(counted.coldStarts)
            # TYPE swiftlet_refusals_total counter
            swiftlet_refusals_total \(counted.refusals)
            # TYPE swiftlet_invocation_run_nanoseconds_total counter
            swiftlet_invocation_run_nanoseconds_total \(counted.runNanoseconds)
            # TYPE swiftlet_workers gauge
            swiftlet_workers \(load.live)
            # TYPE swiftlet_waiting_invocations gauge
            swiftlet_waiting_invocations \(load.waiting)
            # TYPE swiftlet_adopted_zygotes gauge
            swiftlet_adopted_zygotes \(shared.host.adoptedZygotes)
            # TYPE swiftlet_invocations_total counter

            """
        for (outcome, count) in counted.invocations.sorted(by: { $0.key < $1.key }) {
            text += "swiftlet_invocations_total{outcome=\"\(outcome)\"} \(count)\n"
        }
        return text
    }
}
