#include "fingerprint/strongest.hpp"

namespace sonogate::fingerprint {

void Strongest::push(const Maximum& m, std::vector<Peak>& out) {
    decide_before(m.column, out);
    Entry entry{.maximum = m};
    for (Entry& other : entries_) {
        if (other.maximum.salience >= m.salience) {
            ++entry.stronger;
        } else {
            ++other.stronger;
        }
    }
    entries_.push_back(entry);
}

// What lies more than rival_columns before `column` has met all its rivals: decided, and gone.
void Strongest::decide_before(std::uint32_t column, std::vector<Peak>& out) {
    while (!entries_.empty() && entries_.front().maximum.column + rival_columns < column) {
        if (entries_.front().stronger < limit_) {
            out.push_back(entries_.front().maximum.peak);
        }
        entries_.pop_front();
    }
}

void Strongest::finish(std::vector<Peak>& out) {
    for (const Entry& entry : entries_) {
        if (entry.stronger < limit_) {
            out.push_back(entry.maximum.peak);
        }
    }
    entries_.clear();
}

}  // namespace sonogate::fingerprint
