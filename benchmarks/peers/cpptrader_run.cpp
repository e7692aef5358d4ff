// CppTrader's market manager over a stream of orders and cancels: what an engine in C++ does on this machine.
//
// It is not installed by the benchmark. With CppTrader and CppCommon (both of chronoxor, on GitHub) cloned side by side, g++ 12 or newer
// and the headers of fmt:
//
//     g++ -O3 -march=native -DNDEBUG -DFMT_HEADER_ONLY -std=c++2b -ICppTrader/include -ICppCommon/include
//         benchmarks/peers/cpptrader_run.cpp CppTrader/source/trader/matching/*.cpp -o cpptrader_run
//     MM_TEST_CPPTRADER=$PWD/cpptrader_run python benchmarks/matching.py
//
// Arguments: a file of rows of five 64-bit integers (kind 1 new or 2 cancel, order id, side +1 or -1, price, quantity), how many of them fill
// the book first, and the number of runs. Prints one line of JSON: processor seconds of each run, trades and volume of the timed part.
// Its handler counts what it is told; ours writes an event of 64 bytes for each.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <vector>

#include "trader/matching/market_manager.h"

using namespace CppTrader::Matching;

struct Row {
    int64_t kind, order_id, side, price, quantity;
};

struct Counts : MarketHandler {
    uint64_t accepted = 0, deleted = 0, executions = 0, executed = 0;
    void onAddOrder(const Order&) override { ++accepted; }
    void onDeleteOrder(const Order&) override { ++deleted; }
    void onExecuteOrder(const Order&, uint64_t, uint64_t quantity) override {
        ++executions;
        executed += quantity;
    }
};

static void send(MarketManager& market, const Row* rows, size_t count) {
    for (size_t i = 0; i < count; ++i) {
        const Row& row = rows[i];
        const auto side = row.side > 0 ? OrderSide::BUY : OrderSide::SELL;
        if (row.kind == 1)
            market.AddOrder(Order::Limit(row.order_id, 1, side, row.price, row.quantity));
        else
            market.DeleteOrder(row.order_id);
    }
}

static double processor_seconds() {
    timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec + 1e-9 * now.tv_nsec;
}

int main(int count, char** arguments) {
    if (count != 4) return 2;
    FILE* file = std::fopen(arguments[1], "rb");
    if (!file) return 1;
    std::fseek(file, 0, SEEK_END);
    std::vector<Row> rows(std::ftell(file) / sizeof(Row));
    std::rewind(file);
    if (std::fread(rows.data(), sizeof(Row), rows.size(), file) != rows.size()) return 1;
    const size_t resting = std::strtoull(arguments[2], nullptr, 10);
    const int runs = std::atoi(arguments[3]);
    uint64_t executions = 0, executed = 0;
    std::printf("{\"seconds\": [");
    for (int run = 0; run < runs; ++run) {
        Counts counts;
        MarketManager market(counts);
        const Symbol symbol(1, "PAIR");
        market.AddSymbol(symbol);
        market.AddOrderBook(symbol);
        market.EnableMatching();
        send(market, rows.data(), resting);
        const uint64_t executions_before = counts.executions, executed_before = counts.executed;
        const double started = processor_seconds();
        send(market, rows.data() + resting, rows.size() - resting);
        std::printf("%s%.9f", run ? ", " : "", processor_seconds() - started);
        // Both orders of a trade are told.
        executions = (counts.executions - executions_before) / 2;
        executed = (counts.executed - executed_before) / 2;
    }
    std::printf("], \"trades\": %llu, \"volume\": %llu}\n", (unsigned long long)executions, (unsigned long long)executed);
}
